"""One request in flight: from its texts and start image to pictures that can be denoised, and from latents to
the pictures that are handed out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from generation import latents as latent_space
from generation.image_input import read_image
from generation.limits import scheduler_label
from generation.picture import NO_SLOTS, Course, OwnCourse, Picture, TableCourse
from generation.recipe import ConceptUsed, Recipe, software_version
from generation.request import InvalidRequest
from generation.schedulers import build_scheduler, select_timesteps
from generation.solver import SolverTable, Unbatchable, solver_table

if TYPE_CHECKING:
    from generation.concepts.store import Placement
    from generation.conditioning import Conditioning, TextConditioning
    from generation.model import LoadedModel
    from generation.request import ImageRequest


_TEXTS_AT_ONCE: Final = 2


class Drawing:
    """`count` pictures of each prompt.

    The life of one: `encode_texts` until none is left → `start`, which makes the pictures → (a batch denoises and
    the engine decodes them) → `made` for each.
    """

    def __init__(self, model: LoadedModel, request_id: str, request: ImageRequest) -> None:
        assert request.num_inference_steps is not None, "call with_defaults first"
        assert request.width is not None
        assert request.height is not None
        self.request_id = request_id
        self.request = request
        self.pictures: list[Picture] = []
        self.decoded = 0
        self.reported = 0
        """The step that was said last."""
        self.placement: Placement | None = None
        self._model = model
        self._steps, self._size = request.num_inference_steps, (request.width, request.height)
        self._table = self._solver_table()
        self._init_image_sha256: str | None = None
        self._prompted: dict[str, Conditioning] = {}
        self._negative: Conditioning | None = None
        self._words_not_read: dict[str, list[str]] = {}
        self.texts = [(text, False) for text in dict.fromkeys(request.prompts)]
        """Still to be encoded; True for the negative prompt."""
        if self.guided:
            self.texts.insert(0, (request.negative_prompt, True))

    def _solver_table(self) -> SolverTable | Unbatchable:
        request, config = self.request, self._model.scheduler_config
        try:
            return solver_table(config, request.scheduler, self._steps, request.strength)
        except Exception as error:  # diffusers says in many ways that a sampler can't do so many steps
            name = request.scheduler or self._model.info.scheduler
            sentence = (
                f"The sampler {scheduler_label(name)} can't draw in {self._steps} steps here; try another number."
            )
            raise InvalidRequest("num_inference_steps", self._steps, "what the sampler can do", sentence) from error

    @property
    def latent_size(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        factor = self._model.vae_scale_factor
        return self._size[1] // factor, self._size[0] // factor

    @property
    def guided(self) -> bool:
        """Classifier-free guidance: two rows a picture. A network that is told the scale does with one."""
        return self.request.guidance_scale > 1 and not self._model.guidance_embedded

    @property
    def total_steps(self) -> int:
        """Network evaluations of each picture, not the scheduler's steps: Heun makes 2n − 1."""
        course = self.pictures[0].course if self.pictures else self._courses([torch.Generator()])[0]
        return len(course.rows)

    @property
    def step(self) -> int:
        """How far the pictures are on average, in network evaluations."""
        return sum(picture.evaluation for picture in self.pictures) // max(1, len(self.pictures))

    @property
    def finished(self) -> bool:
        return self.decoded == self.request.total_images

    def encode_texts(self, conditioning: TextConditioning) -> None:
        """What the network attends to for the next of `texts`, and the words that did not fit: a prompt and the
        negative one, if there are so many. Everybody in the batch waits meanwhile."""
        request = self.request
        concepts = None if self.placement is None else self.placement.text
        for text, negative in self.texts[:_TEXTS_AT_ONCE]:
            self._words_not_read[text] = conditioning.words_not_read(text, concepts)
            encoded = conditioning.encode(
                text,
                negative=negative,
                width=self._size[0],
                height=self._size[1],
                clip_skip=request.clip_skip,
                concepts=concepts,
            )
            if negative:
                self._negative = encoded
            else:
                self._prompted[text] = encoded
        del self.texts[:_TEXTS_AT_ONCE]

    def start(self) -> None:
        """Make the pictures, with their first latents: noise, or the start image with noise on it.

        Raises:
            ImageRefused, OSError: the start image can't be read.
        """
        request, model = self.request, self._model
        generators = latent_space.generators_of([request.seed + k for k in range(request.total_images)])
        courses = self._courses(generators)
        latents = self._first_latents(generators)
        slots, weights = NO_SLOTS, (0.0, 0.0, 0.0, 0.0)
        if self.placement is not None:
            slots, weights = self.placement.slots, self.placement.weights
        self.pictures = [
            Picture(
                request_id=self.request_id,
                index=index,
                generator=generator,
                guidance_scale=request.guidance_scale,
                course=courses[index],
                conditional=self._prompted[request.prompt_of(index)],
                unconditional=self._negative,
                latents=latents[index : index + 1],
                timestep_cond=model.timestep_cond([request.guidance_scale]),
                slots=slots,
                weights=weights,
            )
            for index, generator in enumerate(generators)
        ]

    def _courses(self, generators: list[torch.Generator]) -> list[Course]:
        if isinstance(self._table, SolverTable):
            return [TableCourse(self._table)] * len(generators)
        config, name, device = self._model.scheduler_config, self.request.scheduler, self._model.device
        strength = self.request.strength
        return [OwnCourse(config, name, self._steps, strength, device, generator) for generator in generators]

    def _first_latents(self, generators: list[torch.Generator]) -> torch.Tensor:
        request, model = self.request, self._model
        if request.init_image is None:
            fresh = latent_space.noise(model, generators, *self._size)
            return fresh * self._init_noise_sigma()
        path = Path(request.init_image)
        image = read_image(path)
        self._init_image_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        encoded = latent_space.encode_image(model, image, generators, *self._size).float()
        fresh = latent_space.noise(model, generators, *self._size)
        scheduler = build_scheduler(model.scheduler_config, request.scheduler)
        timesteps = select_timesteps(scheduler, self._steps, request.strength, model.device)
        return latent_space.noised(scheduler, encoded, fresh, timesteps[0])

    def _init_noise_sigma(self) -> float:
        if isinstance(self._table, SolverTable):
            return self._table.init_noise_sigma
        scheduler = build_scheduler(self._model.scheduler_config, self.request.scheduler)
        select_timesteps(scheduler, self._steps, None, self._model.device)
        return float(scheduler.init_noise_sigma)

    def made(self, picture: Picture) -> tuple[Recipe, list[str]]:
        """A picture was decoded: its recipe, and the words that were not read."""
        self.decoded += 1
        unread = list(self._words_not_read[self.request.prompt_of(picture.index)])
        if self.guided:
            unread += self._words_not_read[self.request.negative_prompt]
        return self._recipe(picture.index), unread

    def _recipe(self, index: int) -> Recipe:
        request, info = self.request, self._model.info
        used = [] if self.placement is None else self.placement.used
        return Recipe(
            prompt=request.prompt_of(index),
            negative_prompt=request.negative_prompt,
            guidance_scale=request.guidance_scale,
            num_inference_steps=self._steps,
            seed=request.seed + index,
            width=self._size[0],
            height=self._size[1],
            scheduler=request.scheduler or info.scheduler,
            model_name=info.name,
            model_hash=info.hash,
            strength=request.strength,
            init_image_sha256=self._init_image_sha256,
            clip_skip=request.clip_skip,
            concepts=[ConceptUsed(name=name, weight=weight, sha256=sha256) for name, weight, sha256 in used],
            version=software_version(),
        )
