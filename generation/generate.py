"""One request from beginning to end: what a script or a notebook wants."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generation.engine import Engine
from generation.events import Event, Failed, ImageReady
from generation.image_input import read_image
from generation.request import InvalidRequest
from generation.upscale import resample, upscale_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from generation.model import LoadedModel
    from generation.recipe import Recipe
    from generation.request import ImageRequest


class GenerationFailed(Exception):
    """A request of `generate` ended without its pictures. The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture with what makes it again."""

    image: Image.Image
    recipe: Recipe
    words_not_read: list[str]


def upscale(model: LoadedModel, path: Path, recipe: Recipe) -> Drawn:
    """The picture at `path`, made after `recipe`, at twice its width and height.

    Drawn over by the model, without concepts; resampled where it can't do that or memory doesn't suffice. A
    resampled picture comes with `recipe` as it is: that makes the picture at `path` again, at its own size.

    Raises:
        ImageRefused, OSError: there is no picture at `path`.
    """
    resampled = resample(read_image(path))
    request = upscale_request(recipe, str(path), model.info.defaults)
    if request is not None:
        with suppress(GenerationFailed, InvalidRequest):
            return generate(model, request)[0]
    return Drawn(resampled, recipe, [])


def generate(
    model: LoadedModel, request: ImageRequest, on_event: Callable[[Event], None] | None = None
) -> list[Drawn]:
    """Draw one request, its pictures in order.

    Raises:
        InvalidRequest: this model can't draw it.
        GenerationFailed: it could not be drawn; the text says why.
    """
    engine = Engine(model)
    engine.admit("only", request)
    drawn: dict[int, Drawn] = {}
    try:
        while engine.busy:
            for event in engine.step():
                if on_event is not None:
                    on_event(event)
                if isinstance(event, ImageReady):
                    drawn[event.index] = Drawn(event.image, event.recipe, event.words_not_read)
                if isinstance(event, Failed):
                    raise GenerationFailed(event.reason)
    finally:
        engine.close()
    return [drawn[index] for index in sorted(drawn)]
