"""The safety checker that a model ships itself, `safety_checker/` in its folder: only its verdict is used."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from diffusers.pipelines.stable_diffusion import safety_checker
from transformers import CLIPImageProcessorPil  # the one that does not need torchvision

from generation.layout import CHECKER, ModelError, called, declares_checker, reason_of
from generation.parts import load_part

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image


class OwnCheck:
    """Stable Diffusion's checker: CLIP's embedding of the picture against 17 concepts, each with a threshold.

    The thresholds are the model's, so there is no score in between: yes or no.
    """

    def __init__(self, checker: Any, processor: Any) -> None:
        self._checker, self._processor = checker, processor
        checker.visual_projection.register_forward_hook(_refuse_non_numbers)
        # It says of every picture that it flags that a black one is returned. Here none is.
        logging.getLogger(safety_checker.__name__).setLevel(logging.ERROR)

    def flags(self, image: Image.Image) -> bool:
        """Does the checker call the picture unsafe?

        Raises:
            Exception: the check did not work. Then the picture must not be shown.
        """
        pixels = self._processor(image.convert("RGB"), return_tensors="pt").pixel_values  # [1, 3, side, side]
        pixels = pixels.to(self._checker.device, self._checker.dtype)
        # It blacks out what it flags in the images that it gets: not in ours.
        _, flagged = self._checker(clip_input=pixels, images=torch.zeros(1, 1))
        return bool(flagged[0])


def load_own_check(folder: Path, device: torch.device, dtype: torch.dtype) -> OwnCheck | None:
    """The model's own checker; None where it declares none or is published without its folder.

    Raises:
        ModelError: it ships one that can't be loaded (a pickle, say): such a model does not go unchecked.
    """
    if not (folder / CHECKER).is_dir() or not declares_checker(folder):
        return None
    checker = load_part(safety_checker.StableDiffusionSafetyChecker, folder, CHECKER, dtype).to(device)
    try:
        processor = CLIPImageProcessorPil.from_pretrained(folder / "feature_extractor", local_files_only=True)
    except Exception as error:  # transformers raises about anything here
        reason = reason_of(error, folder)
        raise ModelError(f"The feature extractor of “{called(folder)}” can't be loaded: {reason}") from error
    return OwnCheck(checker, processor)


def _refuse_non_numbers(_module: object, _inputs: object, embeddings: torch.Tensor) -> None:
    """NaN (half precision can overflow) is above no threshold: everything would be safe."""
    if not embeddings.isfinite().all():
        raise ArithmeticError("the model's own safety checker did not give numbers")
