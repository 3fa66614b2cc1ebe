from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from generation.model import LoadedModel
from generation.preview import Previewer, fit_linear_map, grid


class ColourVae(torch.nn.Module):
    """An autoencoder whose latents are known: the blurred picture in three of four channels."""

    def encode(self, pictures: torch.Tensor) -> object:
        blurred = torch.nn.functional.avg_pool2d(pictures, 8)
        mixed = torch.cat([blurred.flip(1) * 0.5 + 0.2, torch.zeros_like(blurred[:, :1])], dim=1)
        return type("Encoded", (), {"latents": mixed / 0.18215})()


def test_the_linear_map_finds_the_colours(tiny_model: LoadedModel) -> None:
    import dataclasses

    vae = ColourVae()
    vae.config = tiny_model.vae.config  # type: ignore[assignment]
    model = dataclasses.replace(tiny_model, vae=vae)  # type: ignore[arg-type]
    picture = torch.tensor([0.8, -0.4, 0.1]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    latents = vae.encode(picture).latents * model.vae_config.scaling_factor  # type: ignore[attr-defined]
    preview = Previewer(model).draw(latents)
    expected = np.array([0.8, -0.4, 0.1]) / 2 + 0.5
    assert np.abs(np.asarray(preview) / 255 - expected).max() < 0.01


def test_a_large_decoder_is_not_run_for_a_preview(tiny_model: LoadedModel) -> None:
    decodes: list[int] = []
    handle = tiny_model.vae.decoder.register_forward_pre_hook(lambda *_: decodes.append(1))
    preview = Previewer(tiny_model).draw(torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0)))
    handle.remove()
    assert decodes == []
    assert preview.size == (64, 64)


def test_fitting_leaves_the_global_random_state_alone(tiny_model: LoadedModel) -> None:
    before = torch.get_rng_state()
    assert fit_linear_map(tiny_model).shape == (5, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_nan_is_drawn_as_something(tiny_model: LoadedModel, tiny_v_model: LoadedModel) -> None:
    assert Previewer(tiny_model).draw(torch.full((2, 4, 8, 8), torch.nan)).size == (128, 64)
    assert Previewer(tiny_v_model).draw(torch.full((1, 4, 16, 16), torch.nan)).size == (64, 64)


def test_grids_are_as_square_as_it_gets() -> None:
    sizes = {count: grid([Image.new("RGB", (4, 2))] * count).size for count in (1, 2, 3, 4, 5, 9)}
    assert sizes == {1: (4, 2), 2: (8, 2), 3: (8, 4), 4: (8, 4), 5: (12, 4), 9: (12, 6)}
