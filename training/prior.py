"""Class pictures: what the model draws for the class word alone, which prior preservation holds a training to.

Ruiz et al. 2022, arXiv:2208.12242, section 3.2. They hold no personal data and depend on nothing but the model and
the word, so every training of a class shares them: the second one pays nothing. Members choose the words, so what was
used longest ago goes where all of them together are too much.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from generation.request import ImageRequest
from training.chance import number_of
from training.events import Phase, Stepped
from training.pictures import draw
from training.relay import relayed
from training.templates import class_prompt

if TYPE_CHECKING:
    from collections.abc import Generator

    from PIL import Image

    from generation.engine import Engine
    from generation.model import LoadedModel

TOGETHER: Final = 4
"""Pictures of one request. They are kept or drawn again together: a kernel's sums depend on how many rows it gets,
and a training that was killed here must find the same pictures as one that was not."""

MOST_BYTES: Final = 2 * 2**30
"""Of all classes of all models together, when a training begins: twenty of Stable Diffusion's."""


def class_pictures(
    engine: Engine, model: LoadedModel, class_word: str, count: int, folder: Path
) -> Generator[Stepped, None, list[Path]]:
    """`count` pictures of the class below `folder`; draws those that are missing, and yields after every unit of the
    engine's work. Picture k is the same however many are asked for. What other classes have too much goes.

    Raises:
        GenerationFailed: a picture can't be drawn; the text says why.
        OSError: no room on the disk.
    """
    own = folder / model.info.hash[:16] / hashlib.sha256(class_word.encode()).hexdigest()[:16]
    own.mkdir(parents=True, exist_ok=True)
    _make_room(folder, own)
    groups = [_Group(own, class_word, start) for start in range(0, count, TOGETHER)]
    missing = [group for group in groups if not group.is_whole()]
    for number, group in enumerate(missing):
        at, total = number * TOGETHER, len(missing) * TOGETHER
        drawing = draw(engine, f"training-class-{own.name}-{group.start}", [group.request()])
        drawn = yield from relayed(drawing, lambda _, at=at, total=total: Stepped(Phase.CLASS_PICTURES, at, total))
        group.keep([image for image, _ in drawn])
        yield Stepped(Phase.CLASS_PICTURES, at + TOGETHER, total)
    return [path for group in groups for path in group.paths][:count]


def _make_room(folder: Path, own: Path) -> None:
    """Remove the classes that were used longest ago, never `own`, until MOST_BYTES are left. A class' folder has the
    time of its last use."""
    os.utime(own)
    sizes = {each: _bytes_of(each) for each in folder.glob("*/*") if each.is_dir()}
    total = sum(size for size, _ in sizes.values())
    for each, (size, _) in sorted(sizes.items(), key=lambda item: item[1][1]):
        if total <= MOST_BYTES:
            return
        if each != own:
            shutil.rmtree(each, ignore_errors=True)
            with suppress(OSError):
                each.parent.rmdir()  # the last one of its model
            total -= size


def _bytes_of(folder: Path) -> tuple[int, int]:
    """Of the files in it, and when it was last used, in nanoseconds."""
    size = used = 0
    with suppress(FileNotFoundError):  # the command line may be at work here, too
        used = folder.stat().st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                size += entry.stat().st_size
    return size, used


@dataclass(frozen=True, slots=True)
class _Group:
    """Pictures `start` to `start` + `TOGETHER` − 1 of a class."""

    folder: Path
    class_word: str
    start: int

    @property
    def paths(self) -> list[Path]:
        return [self.folder / f"{number:04}.png" for number in range(self.start, self.start + TOGETHER)]

    def is_whole(self) -> bool:
        return all(path.is_file() for path in self.paths)

    def request(self) -> ImageRequest:
        seed = number_of(self.class_word, "class pictures") % 2**31 + self.start
        return ImageRequest(prompt=class_prompt(self.class_word), seed=seed, count=TOGETHER)

    def keep(self, images: list[Image.Image]) -> None:
        """Each written beside and renamed: a picture is whole or not there."""
        for path, image in zip(self.paths, images, strict=True):
            temporary = path.with_suffix(".tmp")
            image.save(temporary, format="PNG")
            temporary.replace(path)
