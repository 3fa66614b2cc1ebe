from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

from generation.latents import encode_image
from generation.model import LoadedModel, load_model
from tests.generation.conftest import save_tiny_model, save_tiny_xl_model
from tests.training.small_training import SIDE, write_photos
from training.dataset import Latents, latents_of
from training.relay import relayed

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module", params=["sd", "tiny-vae", "xl"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "xl":
        save_tiny_xl_model(folder)
    else:
        save_tiny_model(folder, tiny_vae=request.param == "tiny-vae")
    return load_model(str(folder), device="cpu")


def encoded(model: LoadedModel, pictures: list[Path], file: Path) -> tuple[Latents, list[int]]:
    """Latents, and what was said on the way."""
    said: list[int] = []
    encoding = relayed(latents_of(model, pictures, file, SIDE, SIDE), said.append)
    while True:
        try:
            next(encoding)
        except StopIteration as end:
            return end.value, said


def test_a_sample_is_what_the_engine_makes_of_a_start_image(model: LoadedModel, tmp_path: Path) -> None:
    pictures = write_photos(tmp_path, 3)
    latents, said = encoded(model, pictures, tmp_path / "latents.safetensors")
    assert said == [1, 2, 3]
    for which in range(3):
        image = Image.open(pictures[which])
        for mirrored in (False, True):
            ours = latents.draw(torch.tensor([which]), torch.tensor([mirrored]), torch.Generator().manual_seed(9))
            shown = ImageOps.mirror(image) if mirrored else image
            theirs = encode_image(model, shown, [torch.Generator().manual_seed(9)], SIDE, SIDE)
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_what_is_on_the_disk_is_taken_from_there(model: LoadedModel, tmp_path: Path) -> None:
    file = tmp_path / "latents.safetensors"
    pictures = write_photos(tmp_path, 3)
    first, _ = encoded(model, pictures, file)
    again, said = encoded(model, pictures, file)
    assert said == []
    assert torch.equal(first.mean, again.mean)
    assert torch.equal(first.deviation, again.deviation)
    file.write_bytes(file.read_bytes()[:-10])  # cut off, as no write of ours leaves it
    once_more, said = encoded(model, pictures, file)
    assert said == [1, 2, 3]
    assert torch.equal(first.mean, once_more.mean)
    part = first.part([2, 0])
    assert torch.equal(part.mean, first.mean[[2, 0]])
