"""Pictures that a training draws for itself, through the engine, one unit of its work at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generation.events import Failed, ImageReady, Progress
from generation.generate import GenerationFailed

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from PIL import Image

    from generation.engine import Engine
    from generation.recipe import Recipe
    from generation.request import ImageRequest

    Pictures = list[tuple[Image.Image, Recipe]]


def draw(engine: Engine, prefix: str, requests: Sequence[ImageRequest]) -> Generator[tuple[int, int], None, Pictures]:
    """All pictures of all requests, in order; yields between two units of the engine's work how many of how many
    network steps are done.

    The engine is the trainer's alone (see `Engine.beside`). Closed before its end, it takes its requests back.

    Raises:
        GenerationFailed: one of them can't be drawn; the text says why.
        InvalidRequest: this model can't draw it.
    """
    ids = [f"{prefix}-{number}" for number in range(len(requests))]
    total = sum(engine.total_steps(request) for request in requests)
    done = dict.fromkeys(ids, 0)
    drawn: dict[tuple[str, int], tuple[Image.Image, Recipe]] = {}
    try:
        for request_id, request in zip(ids, requests, strict=True):
            engine.admit(request_id, request)
        while any(engine.holds(request_id) for request_id in ids):
            for event in engine.step():
                if isinstance(event, ImageReady):
                    drawn[event.request_id, event.index] = event.image, event.recipe
                elif isinstance(event, Progress):
                    done[event.request_id] = event.step
                elif isinstance(event, Failed):
                    raise GenerationFailed(event.reason)
            yield sum(done.values()), total
    finally:
        _take_back(engine, ids)
    return [
        drawn[request_id, index]
        for request_id, request in zip(ids, requests, strict=True)
        for index in range(request.total_images)
    ]


def _take_back(engine: Engine, ids: Sequence[str]) -> None:
    waiting = [request_id for request_id in ids if engine.holds(request_id)]
    for request_id in waiting:
        engine.cancel(request_id)
    while any(engine.holds(request_id) for request_id in waiting):
        engine.step()
