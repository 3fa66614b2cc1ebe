"""What can be asked, validated once, here. Nothing is silently clamped.

Light: standard library and msgspec only, because the bot process builds these without torch.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

import msgspec

from generation import limits
from generation.limits import SCHEDULERS, SchedulerChoice

__all__ = [
    "SCHEDULERS",
    "ConceptUse",
    "ImageRequest",
    "InvalidRequest",
    "ModelDefaults",
    "ModelInfo",
    "SchedulerChoice",
]

_SHOWN_VALUE: Final = 60
_CONCEPT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_BIDI_CONTROLS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class InvalidRequest(ValueError):
    """One plain sentence that names the field, its value and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str, sentence: str | None = None) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(sentence or f"{field} must be {allowed}, not {shown(value)}.")


class ModelDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What a model does best when nothing else is asked, and which sizes it can draw."""

    num_inference_steps: int = 30
    guidance_scale: float = limits.DEFAULT_GUIDANCE_SCALE
    width: int = 512
    height: int = 512
    size_multiple: int = limits.SIDE_MULTIPLE
    """Pixels: both sides must be multiples of this, or the UNet's skip connections don't meet."""
    max_pixels: int = 1024 * 1024
    upscale_strength: float = 0.3
    """How much of a picture is drawn anew at twice its size (see `upscale`): below, edges stay soft; above, things
    change. 0 says that this model only harms a picture at a size that it never saw."""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the rest of the house may know about a loaded model."""

    name: str
    source: str
    """As it was asked for: `bundled`, a folder, or a hub id."""
    family: str
    """`stable-diffusion` (1.x and 2.x) or `stable-diffusion-xl`."""
    hash: str
    """SHA-256 over the weight files, hexadecimal."""
    defaults: ModelDefaults
    prediction_type: str
    parameters: int
    scheduler: str
    """The model's own: a name in `SCHEDULERS` where it is one of them, else its diffusers class."""
    device: str = "cpu"
    dtype: str = "float32"


class ConceptUse(msgspec.Struct, frozen=True, kw_only=True):
    """A trained concept in a request: `<name>` in the prompts stands for it."""

    name: str
    """Lower case letters, digits and hyphens."""
    path: str
    """Its safetensors file: a textual inversion, a LoRA, or whole weights."""
    weight: float = 1.0
    """How strongly it acts, −2 to 2 (vectors of a textual inversion have no weight)."""
    trigger: str = ""
    """What `<name>` reads as where the file brings no vectors of its own; such a LoRA acts without it, too."""

    def __post_init__(self) -> None:
        if not _is_name(self.name) or not _CONCEPT_NAME.fullmatch(self.name):
            raise InvalidRequest("concept name", self.name, "1 to 32 lower case letters, digits and hyphens")
        if not _is_name(self.path):
            raise InvalidRequest("concept path", self.path, "the path of a safetensors file")
        msgspec.structs.force_setattr(self, "weight", _real("concept weight", self.weight, *limits.CONCEPT_WEIGHT))
        msgspec.structs.force_setattr(self, "trigger", _clean_text("concept trigger", self.trigger))


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request for pictures: `count` of each prompt; picture *k* is drawn with seed + *k*.

    Prompts are tidied: runs of white space become one space (as CLIP's tokenizer does anyway) and control
    characters, which no text encoder reads, are taken out. Everything else is kept or refused.

    Raises:
        InvalidRequest: a value outside of its range, when built. (Decoded by msgspec, the same sentence
            comes as `msgspec.ValidationError`.)
    """

    prompt: str | list[str]
    negative_prompt: str = ""
    """What to keep away from. It acts through guidance, so it does nothing at `guidance_scale` 1."""
    guidance_scale: float = limits.DEFAULT_GUIDANCE_SCALE
    """How strongly to follow the prompt, 1 to 30. 1 is off: one network row instead of two."""
    num_inference_steps: int | None = None
    seed: int
    width: int | None = None
    height: int | None = None
    count: int = 1
    init_image: str | None = None
    """Path of a clean picture (see `image_input`) to start from."""
    strength: float | None = None
    """How much of `init_image` is drawn anew, 0.05 to 1; 0.8 when nothing is said."""
    scheduler: str | None = None
    clip_skip: int | None = None
    """Layers of the text encoder left out at its end, 0 to 11, as diffusers counts them."""
    concepts: list[ConceptUse] = []

    def __post_init__(self) -> None:
        self._check_prompts()
        self._check_numbers()
        self._check_concepts()
        self._check_images()

    @property
    def prompts(self) -> list[str]:
        """The prompts as a list, without repeats for `count`."""
        return [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)

    @property
    def total_images(self) -> int:
        return len(self.prompts) * self.count

    def prompt_of(self, index: int) -> str:
        """The prompt of picture `index`: all pictures of the first prompt come first."""
        return self.prompts[index // self.count]

    def with_defaults(self, defaults: ModelDefaults) -> ImageRequest:
        """The same request with every `None` filled in for a model (`scheduler` stays the caller's).

        Raises:
            InvalidRequest: a size that this model can't draw, or a strength that leaves no step to do.
        """
        steps = defaults.num_inference_steps if self.num_inference_steps is None else self.num_inference_steps
        strength = self.strength
        if self.init_image is not None and strength is None:
            strength = limits.DEFAULT_STRENGTH
        request = msgspec.structs.replace(
            self,
            num_inference_steps=steps,
            width=defaults.width if self.width is None else self.width,
            height=defaults.height if self.height is None else self.height,
            strength=strength,
        )
        request._check_size(defaults)
        choice = None if self.scheduler is None else SCHEDULERS[self.scheduler]
        if choice is not None and steps > choice.max_steps:
            raise InvalidRequest("num_inference_steps", steps, f"at most {choice.max_steps} with {choice.label}")
        if strength is not None and int(steps * strength) < 1:
            least = math.ceil(1 / strength)
            raise InvalidRequest("num_inference_steps", steps, f"at least {least} at strength {strength:g}")
        return request

    def _check_prompts(self) -> None:
        prompt: object = self.prompt
        if isinstance(prompt, list):
            if not prompt:
                raise InvalidRequest("prompt", prompt, "text, or a list with at least one text")
            cleaned: str | list[str] = [_clean_text("prompt", text) for text in prompt]
        else:
            cleaned = _clean_text("prompt", prompt)
        empty = "" in cleaned if isinstance(cleaned, list) else not cleaned
        if empty and self.init_image is None:
            sentence = "prompt must not be empty: say in a few words what to draw."
            raise InvalidRequest("prompt", "", "not empty without a start image", sentence)
        msgspec.structs.force_setattr(self, "prompt", cleaned)
        negative = _clean_text("negative_prompt", self.negative_prompt)
        msgspec.structs.force_setattr(self, "negative_prompt", negative)

    def _check_numbers(self) -> None:
        guidance = _real("guidance_scale", self.guidance_scale, *limits.GUIDANCE_SCALE)
        msgspec.structs.force_setattr(self, "guidance_scale", guidance)
        if self.num_inference_steps is not None:
            _whole("num_inference_steps", self.num_inference_steps, *limits.INFERENCE_STEPS)
        for field, side in (("width", self.width), ("height", self.height)):
            if side is not None:
                _whole(field, side, *limits.SIDE, multiple=limits.SIDE_MULTIPLE)
        _whole("count", self.count, 1, limits.IMAGES)
        if self.total_images > limits.IMAGES:
            allowed = f"at most {limits.IMAGES // len(self.prompts)} with {len(self.prompts)} prompts"
            if len(self.prompts) > limits.IMAGES:
                raise InvalidRequest("prompt", f"{len(self.prompts)} prompts", f"at most {limits.IMAGES} texts")
            raise InvalidRequest("count", self.count, allowed)
        _whole("seed", self.seed, 0, limits.SEED_MAX - (self.total_images - 1))

    def _check_concepts(self) -> None:
        if self.clip_skip is not None:
            _whole("clip_skip", self.clip_skip, *limits.CLIP_SKIP)
        names = [use.name for use in self.concepts]
        if len(names) > limits.CONCEPTS:
            raise InvalidRequest("concepts", f"{len(names)} concepts", f"at most {limits.CONCEPTS}")
        for name in names:
            if names.count(name) > 1:
                raise InvalidRequest("concepts", name, "named once each")

    def _check_images(self) -> None:
        init_image: object = self.init_image
        if init_image is not None and not _is_name(init_image):
            raise InvalidRequest("init_image", init_image, "the path of a picture")
        if self.strength is not None:
            strength = _real("strength", self.strength, *limits.STRENGTH)
            if self.init_image is None:
                sentence = f"strength {strength:g} needs a start image: attach one, or leave strength out."
                raise InvalidRequest("strength", strength, "left out without a start image", sentence)
            msgspec.structs.force_setattr(self, "strength", strength)
        scheduler: object = self.scheduler
        if scheduler is not None and (not _is_name(scheduler) or scheduler not in SCHEDULERS):
            raise InvalidRequest("scheduler", scheduler, f"one of {', '.join(SCHEDULERS)}")

    def _check_size(self, defaults: ModelDefaults) -> None:
        assert self.width is not None
        assert self.height is not None
        for field, side in (("width", self.width), ("height", self.height)):
            if side % defaults.size_multiple:
                raise InvalidRequest(field, side, f"a multiple of {defaults.size_multiple} for this model")
        if self.width * self.height > defaults.max_pixels:
            side = math.isqrt(defaults.max_pixels)
            allowed = f"at most {defaults.max_pixels:,} pixels for this model (as {side}×{side})"
            raise InvalidRequest("size", f"{self.width}×{self.height}", allowed)


def _clean_text(field: str, value: object) -> str:
    """One line without control characters; refuses what is not text or is too long."""
    if not isinstance(value, str):
        raise InvalidRequest(field, value, "text")
    text = tidied(value)
    if len(text) > limits.PROMPT_CHARACTERS:
        allowed = f"at most {limits.PROMPT_CHARACTERS:,} characters long"
        raise InvalidRequest(field, f"{len(text):,} characters", allowed)
    return text


def tidied(text: str) -> str:
    """One line: runs of white space and of characters that nobody can read become one space."""
    return " ".join("".join(" " if _is_unreadable(character) else character for character in text).split())


def _is_unreadable(character: str) -> bool:
    """Control characters, lone surrogates (not encodable) and marks that turn the line around."""
    return unicodedata.category(character) in {"Cc", "Cs"} or character in _BIDI_CONTROLS


def _whole(field: str, value: object, low: int, high: int, *, multiple: int = 1) -> None:
    allowed = f"a whole number from {low} to {high}" + (f" in steps of {multiple}" if multiple > 1 else "")
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high or value % multiple:
        raise InvalidRequest(field, value, allowed)


def _real(field: str, value: object, low: float, high: float) -> float:
    allowed = f"a number from {low:g} to {high:g}"
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(field, value, allowed)  # NaN fails both comparisons
    return float(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def shown(value: object) -> str:
    """A value as it reads in a sentence; long ones are cut."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(" " if _is_unreadable(character) else character for character in text)
    text = text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 1] + "…"
    return f"“{text}”" if isinstance(value, str) and not text[:1].isdigit() else text
