"""The unmodified diffusers pipelines as the reference, and our engine to compare with them."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

from generation.engine import Engine
from generation.events import Finished, ImageReady
from generation.limits import SCHEDULERS
from generation.model import LoadedModel
from generation.request import ImageRequest

TOLERANCE = 1e-4
PIPELINES = {
    ("stable-diffusion", False): StableDiffusionPipeline,
    ("stable-diffusion", True): StableDiffusionImg2ImgPipeline,
    ("stable-diffusion-xl", False): StableDiffusionXLPipeline,
    ("stable-diffusion-xl", True): StableDiffusionXLImg2ImgPipeline,
}


@cache
def loaded(kind: Any, folder: Path) -> Any:
    options = {} if "XL" in kind.__name__ else {"requires_safety_checker": False}
    pipeline = kind.from_pretrained(folder, use_safetensors=True, **options)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(torch.float32)
    if not hasattr(pipeline.text_encoder, "text_model"):
        # diffusers 0.42 looks for the last layer norm there when it skips layers; transformers 5.6 moved it up.
        object.__setattr__(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    return pipeline


def stock(kind: Any, folder: Path, scheduler: str | None) -> Any:
    """The unmodified pipeline, with a scheduler made as its documentation says."""
    pipeline = loaded(kind, folder)
    config = dict(pipeline.scheduler.config)
    if scheduler is None:
        own = type(pipeline.scheduler).from_config(config)
    else:
        choice = SCHEDULERS[scheduler]
        own = getattr(diffusers, choice.class_name).from_config(config, **choice.options)
    options = {} if "XL" in kind.__name__ else {"requires_safety_checker": False}
    return kind(**{**pipeline.components, "scheduler": own}, **options)


class Evaluations:
    """Counts the forward passes of a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.count = 0
        self.rows: list[int] = []
        self._handle = network.register_forward_pre_hook(self._on_forward)

    def _on_forward(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.count += 1
        self.rows.append(len(inputs[0]))

    def __enter__(self) -> Evaluations:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


def ours(model: LoadedModel, request: ImageRequest) -> tuple[torch.Tensor, list[Image.Image], Evaluations]:
    """Final latents, pictures and evaluations, drawn through the engine's public interface."""
    with Evaluations(model.unet) as evaluations:
        latents, pictures = together(model, {"only": request})
    return latents["only"], pictures["only"], evaluations


def together(
    model: LoadedModel, requests: dict[str, ImageRequest], pause: int = 0, **options: Any
) -> tuple[dict[str, torch.Tensor], dict[str, list[Image.Image]]]:
    """Final latents and pictures of each request; a new one is admitted every `pause` steps."""
    engine = Engine(model, **options)
    coming, drawings, events, step = dict(requests), {}, [], 0
    while coming or engine.busy:
        while coming and step >= pause * (len(requests) - len(coming)):
            name = next(iter(coming))
            engine.admit(name, coming.pop(name))
            drawings[name] = engine._drawings[name]
            while not all(ticket.ready() for ticket in engine._between._tickets.values()):
                time.sleep(0.001)  # so that it doesn't depend on the machine who shares a batch with whom
        events += engine.step()
        step += 1
    engine.close()
    assert {event.request_id for event in events if isinstance(event, Finished)} == set(requests), events[-1]
    ready = sorted((e for e in events if isinstance(e, ImageReady)), key=lambda event: event.index)
    pictures = {name: [event.image for event in ready if event.request_id == name] for name in requests}
    latents = {name: torch.cat([p.latents for p in drawing.pictures]) for name, drawing in drawings.items()}
    return latents, pictures


def theirs(
    pipeline: Any, request: ImageRequest, output_type: str = "latent", prompt: list[str] | None = None
) -> tuple[torch.Tensor, Evaluations]:
    """What the pipeline makes of the same request; `prompt` where it has other words for the concepts."""
    generators = [torch.Generator().manual_seed(request.seed + k) for k in range(request.total_images)]
    negative = [request.negative_prompt] * len(request.prompts) if request.negative_prompt else None
    options: dict[str, Any] = {"width": request.width, "height": request.height}
    if request.init_image is not None:
        options = {"image": Image.open(request.init_image), "strength": request.strength}
    if request.clip_skip is not None:
        options["clip_skip"] = request.clip_skip
    with Evaluations(pipeline.unet) as evaluations:
        result = pipeline(
            prompt=prompt or request.prompts,
            negative_prompt=negative,
            guidance_scale=request.guidance_scale,
            num_inference_steps=request.num_inference_steps,
            num_images_per_prompt=request.count,
            generator=generators,
            output_type=output_type,
            **options,
        )
    return result.images, evaluations


def pipeline_for(model: LoadedModel, request: ImageRequest) -> Any:
    kind = PIPELINES[model.info.family, request.init_image is not None]
    return stock(kind, Path(model.info.source), request.scheduler)


def assert_same(mine: torch.Tensor, expected: torch.Tensor) -> None:
    assert mine.shape == expected.shape
    error = (mine - expected).abs().max() / expected.abs().max()
    assert float(error) <= TOLERANCE


def compare(model: LoadedModel, request: ImageRequest) -> None:
    request = request.with_defaults(model.info.defaults)
    expected, their_evaluations = theirs(pipeline_for(model, request), request)
    latents, _, our_evaluations = ours(model, request)
    assert_same(latents, expected)
    assert our_evaluations.count == their_evaluations.count
    assert our_evaluations.rows == their_evaluations.rows
