from __future__ import annotations

import dataclasses
import time
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from generation.latents import to_tensor
from generation.model import LoadedModel, load_model
from generation.preview import Previewer, dead_leaves, fit_preview_map, grid, ridge


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load_model("bundled", device="cpu")


class ColourVae(torch.nn.Module):
    """An autoencoder whose latents are known: the blurred picture in three of four channels."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = torch.nn.Parameter(torch.zeros(1))

    def encode(self, pictures: torch.Tensor) -> object:
        blurred = torch.nn.functional.avg_pool2d(pictures, 8)
        mixed = torch.cat([blurred.flip(1) * 0.5 + 0.2, torch.zeros_like(blurred[:, :1])], dim=1)
        return type("Encoded", (), {"latents": mixed / 0.18215})()


def test_the_map_finds_the_colours(tiny_model: LoadedModel) -> None:
    vae = ColourVae()
    vae.config = tiny_model.vae.config  # type: ignore[assignment]
    model = dataclasses.replace(tiny_model, vae=vae)  # type: ignore[arg-type]
    picture = torch.tensor([0.8, -0.4, 0.1]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    latents = vae.encode(picture).latents * model.vae_config.scaling_factor  # type: ignore[attr-defined]
    preview = Previewer(model).draw(latents)
    expected = np.array([0.8, -0.4, 0.1]) / 2 + 0.5
    assert np.abs(np.asarray(preview) / 255 - expected).max() < 0.015


class OnMps(torch.Tensor):
    """As on an Apple GPU: there is no float64, until the numbers are fetched."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, given: Any = (), options: Any = None) -> Any:
        result = super().__torch_function__(function, types, given, options or {})
        if not isinstance(result, torch.Tensor):
            return result
        if function is torch.Tensor.cpu:
            return result.as_subclass(torch.Tensor)
        if result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it.")
        return result


def test_the_map_is_fitted_where_there_is_no_float64(tiny_model: LoadedModel) -> None:
    class MpsVae(ColourVae):
        def encode(self, pictures: torch.Tensor) -> object:
            return super().encode(pictures.as_subclass(OnMps))

    vae = MpsVae()
    vae.config = tiny_model.vae.config  # type: ignore[assignment]
    fitted = fit_preview_map(dataclasses.replace(tiny_model, vae=vae))  # type: ignore[arg-type]
    assert torch.isfinite(fitted.weight).all()


def test_ridge_finds_what_least_squares_finds() -> None:
    source = np.random.default_rng(0)
    features = source.normal(size=(200, 5)) + 3
    wanted = features @ source.normal(size=(5, 2)) + [7.0, -2.0] + source.normal(size=(200, 2)) * 0.1
    expected = np.linalg.lstsq(np.column_stack([features, np.ones(200)]), wanted, rcond=None)[0]
    weights, offset = ridge(torch.from_numpy(features), torch.from_numpy(wanted))
    assert np.allclose(weights, expected[:-1], atol=1e-3)
    assert np.allclose(offset, expected[-1], atol=1e-2)


def test_edges_are_sharper_than_one_colour_per_latent(bundled: LoadedModel) -> None:
    """Against the best map from each place to its colour that there can be: fitted on the answer itself."""
    drawing = Image.new("RGB", (64, 64), (250, 240, 90))
    pen = ImageDraw.Draw(drawing)
    pen.ellipse((10, 8, 56, 60), fill=(200, 30, 40))
    pen.ellipse((22, 20, 30, 30), fill="black")
    pen.line((12, 50, 55, 42), fill="white", width=3)
    with torch.no_grad():
        latents = bundled.vae.encode(to_tensor(drawing, 64, 64)).latents  # type: ignore[union-attr]
        decoded = bundled.vae.decode(latents, return_dict=False)[0].numpy()
    channels = latents.flatten(2)[0].T.double().numpy()
    channels = np.column_stack([channels, np.ones(len(channels))])
    colours = decoded.reshape(3, 16, 4, 16, 4).mean((2, 4)).reshape(3, -1).T
    best = channels @ np.linalg.lstsq(channels, colours, rcond=None)[0]
    flat = best.T.reshape(3, 16, 1, 16, 1).repeat(4, 2).repeat(4, 4).reshape(1, 3, 64, 64)

    def decibels(picture: np.ndarray) -> float:
        return 10 * np.log10(4 / np.mean((picture.clip(-1, 1) - decoded.clip(-1, 1)) ** 2))

    ours = fit_preview_map(bundled)(latents * bundled.vae_config.scaling_factor).numpy()
    assert decibels(ours) > decibels(flat) + 2


def test_a_preview_costs_under_two_percent_of_a_step(bundled: LoadedModel) -> None:
    previewer = Previewer(bundled)
    start = time.perf_counter()
    previewer.prepare()
    assert time.perf_counter() - start < 3  # a third of a second on a free core
    latents = torch.randn((2, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    text = torch.zeros((2, 77, bundled.unet_config.cross_attention_dim))
    previews: list[float] = []
    steps: list[float] = []
    with torch.no_grad():
        for _ in range(10):
            start = time.perf_counter()
            bundled.unet(latents, torch.tensor([500.0, 300.0]), encoder_hidden_states=text)
            steps.append(time.perf_counter() - start)
            start = time.perf_counter()
            previewer.draw(latents[:1])
            previews.append(time.perf_counter() - start)
    assert min(previews) < 0.02 * min(steps)


def test_the_decoder_is_not_run_for_a_preview(tiny_model: LoadedModel) -> None:
    decodes: list[int] = []
    handle = tiny_model.vae.decoder.register_forward_pre_hook(lambda *_: decodes.append(1))
    preview = Previewer(tiny_model).draw(torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0)))
    handle.remove()
    assert decodes == []
    assert preview.size == (64, 64)


def test_previews_of_large_pictures_stay_small(tiny_model: LoadedModel) -> None:
    defaults = msgspec.structs.replace(tiny_model.info.defaults, width=512, height=512)
    model = dataclasses.replace(tiny_model, info=msgspec.structs.replace(tiny_model.info, defaults=defaults))
    assert Previewer(model).draw(torch.zeros((1, 4, 64, 64))).size == (256, 256)


def test_fitting_leaves_the_global_random_state_alone(tiny_model: LoadedModel, tiny_v_model: LoadedModel) -> None:
    before = torch.get_rng_state()
    first, again = fit_preview_map(tiny_model), fit_preview_map(tiny_model)
    assert torch.equal(first.weight, again.weight)
    assert first.weight.shape == (3 * 64, 4, 3, 3)
    assert fit_preview_map(tiny_v_model).weight.shape == (3 * 16, 4, 3, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_dead_leaves_cover_the_colours() -> None:
    picture = dead_leaves(64, torch.Generator().manual_seed(1))
    assert picture.shape == (1, 3, 64, 64)
    assert picture.abs().max() <= 1
    assert len(picture.flatten(2)[0].T.unique(dim=0)) > 50
    assert picture.std() > 0.4


def test_nan_is_drawn_as_something(tiny_model: LoadedModel, tiny_v_model: LoadedModel) -> None:
    assert Previewer(tiny_model).draw(torch.full((2, 4, 8, 8), torch.nan)).size == (128, 64)
    assert Previewer(tiny_v_model).draw(torch.full((1, 4, 16, 16), torch.nan)).size == (64, 64)


def test_grids_are_as_square_as_it_gets() -> None:
    sizes = {count: grid([Image.new("RGB", (4, 2))] * count).size for count in (1, 2, 3, 4, 5, 9)}
    assert sizes == {1: (4, 2), 2: (8, 2), 3: (8, 4), 4: (8, 4), 5: (12, 4), 9: (12, 6)}
