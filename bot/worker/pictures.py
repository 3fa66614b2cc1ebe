"""Pictures on their way to disk: nothing that the model made is written before the output check has seen it."""

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from bot.errors import StartImageGone
from bot.worker.messages import Draw, DrawnImage
from generation.image_input import read_image
from generation.recipe import Recipe, save_png
from generation.request import ImageRequest
from generation.upscale import resample

PREVIEW_SIDE = 512
SHOWN_SIDE = 256
"""Chat shows smaller pictures enlarged to this long side: twice as large begins from here."""


class CheckFailed(Exception):
    """The output check did not work, so nothing is known about the picture."""


def start_path(draw: Draw) -> Path:
    """Where the start image of a job is, or will be."""
    assert draw.request.init_image is not None, "a start image is needed to draw it again, or to enlarge it"
    return Path(draw.request.init_image)


def drawn_first(draw: Draw) -> ImageRequest | None:
    """What draws its start image again; None where that is there."""
    return None if draw.redraw is None or start_path(draw).is_file() else draw.redraw


class CheckedFiles:
    """`score`: how unsafe a picture is, 0 to 1. A preview with `nsfw_threshold` or more is not written; a picture is,
    with its score: the bot decides about showing it. Every method raises CheckFailed and OSError."""

    def __init__(self, score: Callable[[Image.Image], float], nsfw_threshold: float) -> None:
        self._score, self._threshold = score, nsfw_threshold

    def keep(self, image: Image.Image, path: Path, recipe: Recipe, words_not_read: list[str]) -> DrawnImage:
        """A finished picture, under its final name."""
        nsfw = self._checked(image)
        save_png(image, path, recipe)
        return DrawnImage(
            path=str(path),
            seed=recipe.seed,
            width=image.width,
            height=image.height,
            recipe=recipe,
            nsfw=nsfw,
            words_not_read=words_not_read,
        )

    def enlarge(self, source: Path, path: Path, recipe: Recipe) -> DrawnImage:
        """The picture at `source`, drawn after `recipe`, at twice the size that it was shown at.

        Raises StartImageGone, ImageRefused.
        """
        try:
            image = read_image(source)
        except FileNotFoundError as error:
            raise StartImageGone from error
        return self.keep(resample(image, least_side=SHOWN_SIDE), path, recipe, [])

    def may_be_seen(self, image: Image.Image) -> bool:
        """Of what nobody asked for by itself, a training's samples: is it safe for everybody?"""
        return self._checked(image) < self._threshold

    def preview(self, image: Image.Image, path: Path) -> bool:
        """Whether it may be seen: then it has replaced the one before."""
        if not self.may_be_seen(image):
            return False
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        temporary = path.with_suffix(".part")
        image.save(temporary, "WEBP", quality=80)
        os.replace(temporary, path)  # noqa: PTH105  (a reader sees the old or the new one, whole)
        return True

    def _checked(self, image: Image.Image) -> float:
        try:
            return self._score(image)
        except Exception as error:
            raise CheckFailed from error
