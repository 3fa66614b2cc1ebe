"""What is measured: one model in our engine and in stock diffusers, and the requests that both draw."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import ImageChops
from transformers.utils import logging as transformers_logging

import generation
from generation.engine import Engine
from generation.events import Failed, Finished, ImageReady
from generation.limits import SCHEDULERS
from generation.model import LoadedModel, load_model
from generation.request import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

    from generation.events import Event

BUNDLED = Path(generation.__file__).parent / "bundled"
AT_ONCE = 8
SUBJECTS = ("red apple", "fox", "house", "blue car", "cat", "green tree", "robot", "castle")
UNWANTED = ("blurry", "text", "a dog", "dark", "a frame", "two of them", "grey", "people")
GUIDANCE = (7.5, 5.0, 6.0, 4.0, 9.0, 3.0, 8.0, 2.5)
MIXED_SCHEDULERS = ("ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "deis", "ddpm")
"""All make as many network evaluations as steps, so that every request is the same amount of work."""


@dataclass
class Subject:
    """One model, loaded twice from the same files: a pipeline of its own keeps our changes out of stock's."""

    name: str
    model: LoadedModel
    stock: Any
    steps: int
    stock_scheduler: Any = field(init=False)
    _numbers: Any = field(init=False, default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.stock.set_progress_bar_config(disable=True)
        self.stock_scheduler = self.stock.scheduler

    @property
    def device(self) -> torch.device:
        return self.model.device

    def requests(self, count: int) -> list[ImageRequest]:
        """The next `count` different requests; no prompt comes twice, so that no cache of texts is measured."""
        return [mixed_request(index, next(self._numbers), self.steps) for index in range(count)]

    @cached_property
    def engine(self) -> Engine:
        """One for all benchmarks; it has drawn once alone and eight together, and has nothing left to compile."""
        engine = Engine(self.model)
        for count in (1, AT_ONCE):
            self.draw(engine, self.requests(count))
        engine._forward.wait_until_warm()
        return engine

    def close(self) -> None:
        if "engine" in self.__dict__:
            self.engine.close()

    def ours(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """All of them admitted at once to the warm engine; the pictures in the order of the requests."""
        return self.draw(self.engine, requests)

    def draw(self, engine: Engine, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        for index, request in enumerate(requests):
            engine.admit(str(index), request)
        images: dict[str, Image.Image] = {}
        while engine.busy:
            events = engine.step()
            images |= {event.request_id: event.image for event in events if isinstance(event, ImageReady)}
            finished(events)
        return [images[str(index)] for index in range(len(requests))]

    def stock_serial(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One after the other, each with its own scheduler, as a bot without batching does."""
        images: list[Image.Image] = []
        for request in requests:
            self.stock.scheduler = self._scheduler(request.scheduler)
            images += self._call([request])
        return images

    def stock_static(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        """One call for all of them, with the first one's scheduler and guidance for everybody."""
        self.stock.scheduler = self._scheduler(requests[0].scheduler)
        return self._call(requests)

    def _call(self, requests: Sequence[ImageRequest]) -> list[Image.Image]:
        defaults = self.model.info.defaults
        return self.stock(
            [str(request.prompt) for request in requests],
            negative_prompt=[request.negative_prompt for request in requests],
            guidance_scale=requests[0].guidance_scale,
            num_inference_steps=self.steps,
            width=defaults.width,
            height=defaults.height,
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
        ).images

    def _scheduler(self, name: str | None) -> Any:
        if name is None:
            return self.stock_scheduler
        choice = SCHEDULERS[name]
        # Published configurations say so; one that doesn't makes DDIM clip latents to ±1.
        config = {**self.stock_scheduler.config, "clip_sample": False}
        return getattr(diffusers, choice.class_name).from_config(config, **choice.options)

    def latents_shape(self, rows: int) -> tuple[int, int, int, int]:
        factor, defaults = self.stock.vae_scale_factor, self.model.info.defaults
        return rows, self.stock.unet.config.in_channels, defaults.height // factor, defaults.width // factor

    def forward(self, rows: int, unet: Any = None) -> Callable[[], torch.Tensor]:
        """The UNet alone (stock's, or `unet`) on random numbers of the default size, every row at its own time."""
        unet = self.stock.unet if unet is None else unet
        config, model = self.stock.unet.config, self.model
        generator = torch.Generator("cpu").manual_seed(rows)
        texts = (rows, self.stock.tokenizer.model_max_length, config.cross_attention_dim)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(model.device, model.dtype)

        sample, hidden = normal(*self.latents_shape(rows)), normal(*texts)
        timesteps = torch.linspace(1, 999, rows).round().to(model.device)
        options: dict[str, Any] = {}
        if config.addition_embed_type == "text_time":
            time_ids = normal(rows, 6)
            pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            options["added_cond_kwargs"] = {"text_embeds": normal(rows, pooled), "time_ids": time_ids}

        @torch.no_grad()
        def run() -> torch.Tensor:
            return unet(sample, timesteps, encoder_hidden_states=hidden, return_dict=False, **options)[0]

        return run


def mixed_request(index: int, number: int, steps: int) -> ImageRequest:
    """One of a mix in which neighbours differ in everything but size and steps; `number` makes it unique."""
    kind = index % AT_ONCE
    return ImageRequest(
        prompt=f"a {SUBJECTS[kind]} number {number}",
        negative_prompt=f"{UNWANTED[kind]} {number}",
        guidance_scale=GUIDANCE[kind],
        num_inference_steps=steps,
        seed=number,
        scheduler=MIXED_SCHEDULERS[kind],
    )


def bundled() -> Subject:
    """The bundled model in float32 on the CPU, at its own defaults."""
    quiet()
    model = load_model("bundled", device="cpu")
    stock = StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32)
    return Subject("bundled", model, stock, model.info.defaults.num_inference_steps)


def from_folder(name: str, folder: Path, device: str, dtype: str, steps: int) -> Subject:
    """A folder in the layout of diffusers, on any device."""
    quiet()
    model = load_model(str(folder), device=device, dtype=dtype)
    pipeline = StableDiffusionXLPipeline if (folder / "text_encoder_2").is_dir() else StableDiffusionPipeline
    stock = pipeline.from_pretrained(folder, dtype=model.dtype).to(model.device)
    return Subject(name, model, stock, steps)


def quiet() -> None:
    """No progress bars and no advice between the tables."""
    diffusers.logging.disable_progress_bar()
    diffusers.logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def finished(events: Sequence[Event]) -> list[str]:
    """The requests that ended well among these events. A failed one ends the benchmark."""
    for event in events:
        assert not isinstance(event, Failed), event.reason
    return [event.request_id for event in events if isinstance(event, Finished)]


def pixel_difference(ours: Sequence[Image.Image], theirs: Sequence[Image.Image]) -> int:
    """The largest difference of any colour value, 0 to 255."""
    pairs = zip(ours, theirs, strict=True)
    return max(high for one, other in pairs for _, high in ImageChops.difference(one, other).getextrema())
