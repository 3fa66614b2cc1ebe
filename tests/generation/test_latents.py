from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from generation.latents import NotFinite, decode_latents, generators_of, noise, to_image, to_tensor
from generation.model import LoadedModel


def test_noise_of_a_picture_depends_on_its_seed_only(tiny_model: LoadedModel) -> None:
    together = noise(tiny_model, generators_of([1, 2, 3]), 64, 128)
    assert together.shape == (3, 4, 16, 8)
    assert torch.equal(noise(tiny_model, generators_of([2]), 64, 128)[0], together[1])


def test_pictures_survive_the_way_to_tensors_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    tensor = to_tensor(Image.fromarray(pixels), 24, 16)
    assert tensor.shape == (1, 3, 16, 24)
    assert float(tensor.min()) >= -1
    assert np.array_equal(np.asarray(to_image(tensor[0])), pixels)


def test_another_shape_is_cut_evenly_not_squeezed() -> None:
    wide = Image.new("RGB", (300, 100), "blue")
    wide.paste("red", (100, 0, 200, 100))
    tensor = to_tensor(wide, 50, 50)
    pixels = np.asarray(to_image(tensor[0]))
    assert pixels[:, 1:-1].reshape(-1, 3).min(axis=0).tolist() == [254, 0, 0]  # edges ring a little
    assert pixels[:, :, 2].max() < 20


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_make_no_picture(tiny_v_model: LoadedModel, value: float) -> None:
    """Checked before the decoder, too: AutoencoderTiny squeezes infinity into a colour."""
    latents = torch.zeros((1, 4, 16, 16))
    latents[0, 0, 0, 0] = value
    with pytest.raises(NotFinite):
        decode_latents(tiny_v_model, latents)
