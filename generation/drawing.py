"""One request in flight: everything that the denoising loop keeps for it between two steps.

The network itself is run by the engine, so that the rows of several requests can share one forward.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from generation import latents as latent_space
from generation.image_input import read_image
from generation.recipe import Recipe, software_version
from generation.schedulers import build_scheduler, estimate_original, select_timesteps, step_options

if TYPE_CHECKING:
    from PIL import Image

    from generation.conditioning import TextConditioning
    from generation.model import LoadedModel
    from generation.request import ImageRequest


class Drawing:
    """`count` pictures of each prompt, drawn together.

    The life of one: `encode_text` → `start` → (`model_input` → `accept`) per timestep → `decode` per picture.
    """

    def __init__(self, model: LoadedModel, request: ImageRequest) -> None:
        assert request.num_inference_steps is not None, "call with_defaults first"
        assert request.width is not None
        assert request.height is not None
        self.request = request
        self.step = 0
        self.decoded = 0
        self.words_not_read: dict[str, list[str]] = {}
        self._model = model
        self._size = request.width, request.height
        self._seeds = [request.seed + index for index in range(request.total_images)]
        self._generators = latent_space.generators_of(self._seeds)
        self._scheduler = build_scheduler(model.scheduler_config, request.scheduler)
        self._timesteps = select_timesteps(
            self._scheduler, request.num_inference_steps, request.strength, model.device
        )
        self._step_options = step_options(self._scheduler, self._generators)
        self._init_image_sha256: str | None = None
        self._conditioning: torch.Tensor | None = None
        self._latents: torch.Tensor | None = None
        self._model_input: torch.Tensor | None = None
        self._latest_guess: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    @property
    def guided(self) -> bool:
        """Classifier-free guidance: twice the rows, the first half without the prompt."""
        return self.request.guidance_scale > 1

    @property
    def total_steps(self) -> int:
        """Network evaluations, not the scheduler's steps: Heun makes 2n − 1."""
        return len(self._timesteps)

    @property
    def started(self) -> bool:
        return self._latents is not None

    @property
    def denoised(self) -> bool:
        return self.step == self.total_steps

    @property
    def finished(self) -> bool:
        return self.decoded == self.request.total_images

    @property
    def latents(self) -> torch.Tensor:
        """Scaled latents as they are now, `[images, channels, h, w]`."""
        assert self._latents is not None, "not started"
        return self._latents

    def encode_text(self, conditioning: TextConditioning) -> None:
        """Fill in what the network attends to, `[rows, tokens, hidden]`, and the words that did not fit."""
        request = self.request
        texts = [request.prompt_of(index) for index in range(request.total_images)]
        if self.guided:
            texts = [request.negative_prompt] * len(texts) + texts
        self._conditioning = torch.cat([conditioning.encode(text) for text in texts])
        self.words_not_read = {text: conditioning.words_not_read(text) for text in set(texts)}

    def start(self) -> None:
        """Draw the first latents: noise, or the start image with noise on it.

        Raises:
            ImageRefused, OSError: the start image can't be read.
        """
        if self.request.init_image is None:
            fresh = latent_space.noise(self._model, self._generators, *self._size)
            self._latents = fresh * self._scheduler.init_noise_sigma
            return
        path = Path(self.request.init_image)
        image = read_image(path)
        self._init_image_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        encoded = latent_space.encode_image(self._model, image, self._generators, *self._size)
        fresh = latent_space.noise(self._model, self._generators, *self._size)
        self._latents = latent_space.noised(self._scheduler, encoded, fresh, self._timesteps[0])

    def model_input(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the UNet gets now: sample `[rows, channels, h, w]`, timestep (a scalar), conditioning."""
        assert self._conditioning is not None, "encode_text first"
        timestep = self._timesteps[self.step]
        rows = torch.cat([self.latents] * 2) if self.guided else self.latents
        rows = self._scheduler.scale_model_input(rows, timestep)
        self._model_input = rows[: len(self.latents)]
        return rows, timestep, self._conditioning

    def accept(self, model_output: torch.Tensor) -> None:
        """Move on by one step with the UNet's answer to `model_input`, `[rows, channels, h, w]`."""
        assert self._model_input is not None, "model_input first"
        if self.guided:
            without, with_prompt = model_output.chunk(2)
            model_output = without + self.request.guidance_scale * (with_prompt - without)
        timestep = self._timesteps[self.step]
        self._latest_guess = self._model_input, model_output, timestep
        self._latents = self._scheduler.step(
            model_output, timestep, self.latents, **self._step_options, return_dict=False
        )[0]
        self.step += 1

    def estimate(self) -> torch.Tensor | None:
        """What the finished latents may look like, `[images, channels, h, w]`; None before the first step."""
        if self.denoised and self.started:
            return self.latents
        if self._latest_guess is None:
            return None
        return estimate_original(self._scheduler, self._model.info.prediction_type, *self._latest_guess)

    def decode(self) -> tuple[int, Image.Image, Recipe, list[str]]:
        """The next picture: its index, itself, its recipe, the words that were not read.

        Raises:
            NotFinite: there is no picture in these numbers.
        """
        index = self.decoded
        image = latent_space.decode_latents(self._model, self.latents[index : index + 1])
        self.decoded += 1
        unread = self.words_not_read.get(self.request.prompt_of(index), [])
        if self.guided:
            unread = unread + self.words_not_read.get(self.request.negative_prompt, [])
        return index, image, self._recipe(index), unread

    def _recipe(self, index: int) -> Recipe:
        request, info = self.request, self._model.info
        assert request.num_inference_steps is not None
        return Recipe(
            prompt=request.prompt_of(index),
            negative_prompt=request.negative_prompt,
            guidance_scale=request.guidance_scale,
            num_inference_steps=request.num_inference_steps,
            seed=self._seeds[index],
            width=self._size[0],
            height=self._size[1],
            scheduler=request.scheduler or info.scheduler,
            model_name=info.name,
            model_hash=info.hash,
            strength=request.strength,
            init_image_sha256=self._init_image_sha256,
            version=software_version(),
        )
