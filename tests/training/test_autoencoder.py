"""The autoencoder's sizes, its pictures, and whom it never sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.base_model.autoencoder import (
    PICTURES_PER_HELD_OUT_ICON,
    build_autoencoder,
    decode,
    draw_pictures,
    encode,
    held_out_pictures,
    load_autoencoder,
    psnr,
    random_backgrounds,
    train_autoencoder,
    training_icons,
)
from training.base_model.configs import FULL, SMALL, Config
from training.base_model.icons import IconSet

CPU = torch.device("cpu")


@pytest.mark.parametrize(("config", "factor"), [(SMALL, 4), (FULL, 8)])
def test_latents_are_16_by_16(config: Config, factor: int) -> None:
    model = build_autoencoder(config)
    size = config.picture_size
    with torch.no_grad():
        latents = encode(model, torch.zeros(1, 3, size, size))
        assert latents.shape == (1, config.latent_channels, size // factor, size // factor) == (1, *latents.shape[1:])
        assert latents.shape[-1] == config.latent_size == 16
        assert decode(model, latents).shape == (1, 3, size, size)


def test_held_out_icons_are_never_trained_on(icon_set: IconSet) -> None:
    icons = training_icons(icon_set)
    assert len(icons) == 5 + 2  # the icons that there are, and the others
    assert (icons[:, 3].flatten(1) > 0).any(-1).all()
    gray = icon_set.held_out_icons[0, 0]
    assert not any(torch.equal(icon, gray) for icon in icons)


def test_held_out_pictures_are_always_the_same(icon_set: IconSet) -> None:
    first, again = (held_out_pictures(icon_set, CPU) for _ in range(2))
    assert first.shape == (2 * PICTURES_PER_HELD_OUT_ICON, 3, 16, 16)
    assert torch.equal(first, again)


def test_backgrounds_are_white_plain_or_gradients() -> None:
    pictures = random_backgrounds(2000, 8, torch.Generator().manual_seed(0))
    spread = (pictures.amax((2, 3)) - pictures.amin((2, 3))).amax(1)
    white = (pictures.flatten(1) == 1).all(1)
    assert 0.29 < white.float().mean() < 0.37
    assert 0.17 < (spread > 0.01).float().mean() < 0.23
    plain = pictures[(spread < 1e-6) & ~white]
    assert plain[:, :, 0, 0].std(0).min() > 0.25  # any colour: a uniform share has 0.29


def test_pictures_show_icons_of_many_sizes(icon_set: IconSet) -> None:
    icon = torch.zeros(200, 4, 32, 32, dtype=torch.uint8)
    icon[:, 3] = 255  # black
    pictures = draw_pictures(icon, torch.Generator().manual_seed(0))
    assert pictures.shape == (200, 3, 32, 32)
    assert pictures.min() >= -1
    assert pictures.max() <= 1.001
    assert (pictures[:, :, 16, 16] == -1).all()
    covered = (pictures < -0.99).all(1).float().mean((1, 2))
    assert covered.min() < 0.45
    assert covered.max() > 0.95


def test_psnr_of_a_known_error(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.base_model import autoencoder

    monkeypatch.setattr(autoencoder, "encode", lambda _model, pictures: pictures)
    monkeypatch.setattr(autoencoder, "decode", lambda _model, latents: latents + 0.2)
    # 0.2 of a range of 2 is a tenth of the peak: 20 dB.
    assert psnr(build_autoencoder(tiny), torch.zeros(70, 3, 4, 4)) == pytest.approx(20, abs=1e-4)


def test_decoder_only_leaves_the_encoder_alone(work: Path, tiny: Config, icon_set: IconSet) -> None:
    before = load_autoencoder(work)
    train_autoencoder(work, icon_set, tiny, minutes=0.005, device=CPU, decoder_only=True)
    after = load_autoencoder(work)
    assert after.config["scaling_factor"] == before.config["scaling_factor"]
    kept, old = after.encoder.state_dict(), before.encoder.state_dict()
    assert all(torch.equal(kept[name], old[name]) for name in old)
    new, old = after.decoder.state_dict(), before.decoder.state_dict()
    assert not all(torch.equal(new[name], old[name]) for name in old)


def test_training_scales_latents_to_unit_deviation(tmp_path: Path, tiny: Config, icon_set: IconSet) -> None:
    train_autoencoder(tmp_path, icon_set, tiny, minutes=0.005, device=CPU)
    model = load_autoencoder(tmp_path)
    pictures = draw_pictures(training_icons(icon_set).repeat(40, 1, 1, 1), torch.Generator().manual_seed(5))
    with torch.no_grad():
        deviation = (encode(model, pictures) * model.config["scaling_factor"]).std().item()
    assert deviation == pytest.approx(1, rel=0.15)
    assert (tmp_path / "autoencoder.png").exists()


def test_compiling_that_loses_gradients_stops_the_run(
    tmp_path: Path, tiny: Config, icon_set: IconSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda part: part.layers[0].requires_grad_(False))
    with pytest.raises(RuntimeError, match=r"4 parameters get no gradient \(one: decoder.layers.0.bias\)"):
        train_autoencoder(tmp_path, icon_set, tiny, minutes=0.005, device=CPU, compiled=True)
    assert not (tmp_path / "autoencoder").exists()


def test_minutes_are_those_of_training_not_of_compiling(
    tmp_path: Path,
    tiny: Config,
    icon_set: IconSet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from training.base_model import autoencoder

    now, compiled, compute = [0.0], [0], autoencoder.autoencoder_loss

    def count(_: nn.Module) -> None:
        compiled[0] += 1

    def slow_loss(*arguments: object) -> Tensor:
        first = compiled[0] > 0 and now[0] < 120
        now[0] += 120 if first else 1  # what is compiled is compiled at its first use
        return compute(*arguments)

    monkeypatch.setattr(nn.Module, "compile", count)
    monkeypatch.setattr(autoencoder, "autoencoder_loss", slow_loss)
    monkeypatch.setattr(autoencoder.time, "monotonic", lambda: now[0])
    train_autoencoder(tmp_path, icon_set, tiny, minutes=0.1, device=CPU, compiled=True)
    assert compiled == [2]
    assert capsys.readouterr().out.splitlines()[-1].startswith("6 steps")
