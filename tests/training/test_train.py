"""Runs that are broken off and go on, with a clock that only work moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import special, stats
from torch import Tensor

from training.base_model import train as train_module
from training.base_model.configs import Config
from training.base_model.networks import TextToLatents, build_noise_schedule
from training.base_model.rows import Rows
from training.base_model.train import (
    ENDING_S,
    Reporter,
    Run,
    minutes_trained,
    new_run,
    timestep_shares,
    train,
    training_loss,
)

CPU = torch.device("cpu")


@dataclass
class Clock:
    """Says what time it is."""

    now: float = 1000.0
    step: float = 60.0
    """What a training step takes."""

    def after(self, minutes: float) -> float:
        """The deadline that leaves so many minutes for training."""
        return self.now + 60 * minutes + ENDING_S

    def takes(self, seconds: float) -> Callable[..., None]:
        """Something that does nothing but take so long."""

        def work(*_: object) -> None:
            self.now += seconds

        return work


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A step takes a minute, all else no time, and no pictures are drawn."""
    clock, step = Clock(), train_module.train_step

    def train_step(*arguments: Any) -> None:
        step(*arguments)
        clock.now += clock.step

    monkeypatch.setattr(train_module, "train_step", train_step)
    monkeypatch.setattr(train_module.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(Reporter, "show", lambda *_: None)
    return clock


@pytest.fixture
def rows(tiny: Config) -> Rows:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(20, 4, 8, 8, generator=generator).half()
    return Rows(latents, torch.randint(4096, (20, 4, 32), generator=generator))


@pytest.mark.soak
def test_pieces_give_what_one_run_gives(tmp_path: Path, rows: Rows, tiny: Config, clock: Clock) -> None:
    for folder in ("whole", "pieces"):
        (tmp_path / folder).mkdir()
    whole = train(tmp_path / "whole", rows, tiny, minutes=6, device=CPU)
    for minutes in (2, 1, 3):
        deadline = clock.after(minutes)
        pieces = train(tmp_path / "pieces", rows, tiny, minutes=6, deadline=deadline, device=CPU)
    assert whole.step == pieces.step == 6
    assert pieces.losses[-1].item() == pytest.approx(whole.losses[-1].item(), rel=1e-5)
    for name, value in whole.average.state_dict().items():
        assert torch.allclose(pieces.average.state_dict()[name], value, atol=1e-6), name


def test_a_call_ends_when_told_and_the_next_ends_the_run(
    tmp_path: Path, rows: Rows, tiny: Config, clock: Clock
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    assert minutes_trained(checkpoint, tiny) == 0
    first = train(tmp_path, rows, tiny, minutes=6, deadline=clock.after(4), device=CPU)
    assert (first.step, minutes_trained(checkpoint, tiny)) == (4, 4)
    second = train(tmp_path, rows, tiny, minutes=6, deadline=clock.after(4), device=CPU)
    assert (second.step, minutes_trained(checkpoint, tiny)) == (6, 6)
    assert train(tmp_path, rows, tiny, minutes=6, device=CPU).step == 6  # nothing is left to do


def test_a_deadline_is_for_everything_that_a_call_does(
    tmp_path: Path, rows: Rows, tiny: Config, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.step = 1.0
    monkeypatch.setattr(TextToLatents, "compile_unet", clock.takes(100))
    monkeypatch.setattr(Run, "restore", clock.takes(5))
    monkeypatch.setattr(Reporter, "show", clock.takes(15))
    deadline = clock.now + 130
    run = train(tmp_path, rows, tiny, minutes=6, deadline=deadline, device=CPU, compiled=True)
    assert deadline - 10 < clock.now <= deadline
    assert run.elapsed == run.step == 10  # of training alone: the learning rate knows nothing of compiling
    restored = train(tmp_path, rows, tiny, minutes=6, deadline=clock.now + 127, device=CPU, compiled=True)
    assert restored.elapsed == 2


def test_a_call_that_only_compiles_writes_nothing(
    tmp_path: Path, rows: Rows, tiny: Config, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextToLatents, "compile_unet", clock.takes(100))
    run = train(tmp_path, rows, tiny, minutes=6, deadline=clock.now + 110, device=CPU, compiled=True)
    assert (run.step, list(tmp_path.iterdir())) == (0, [])


def test_a_run_of_another_configuration_is_refused(tmp_path: Path, rows: Rows, tiny: Config) -> None:
    checkpoint, large = tmp_path / "checkpoint.pt", replace(tiny, name="large")
    train(tmp_path, rows, tiny, minutes=1, device=CPU)
    for use in (
        lambda: train(tmp_path, rows, large, minutes=2, device=CPU),
        lambda: minutes_trained(checkpoint, large),
    ):
        with pytest.raises(
            RuntimeError, match=r"checkpoint.pt is a run of the configuration tiny, not large: delete"
        ):
            use()
    state = torch.load(checkpoint, weights_only=True)
    del state["config"]  # as checkpoints once were
    torch.save(state, checkpoint)
    assert minutes_trained(checkpoint, large) == 1


def test_only_matrices_outside_the_embeddings_decay(tiny: Config) -> None:
    run = new_run(tiny, CPU)
    decaying, others = run.optimiser.param_groups
    assert decaying["weight_decay"] > 0 == others["weight_decay"]
    token_table = run.model.text_encoder.get_input_embeddings().weight
    assert any(value is token_table for value in others["params"])
    assert any(value is run.model.unet.conv_in.weight for value in decaying["params"])
    counted = sum(len(group["params"]) for group in run.optimiser.param_groups)
    assert counted == len(list(run.model.parameters()))


class Oracle(TextToLatents):
    """Knows the latents (all of them 0.5), so that it can say v."""

    def forward(self, noisy: Tensor, timesteps: Tensor, token_ids: Tensor) -> Tensor:
        alphas = build_noise_schedule().alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noise = (noisy - alphas.sqrt() * 0.5) / (1 - alphas).sqrt()
        return alphas.sqrt() * noise - (1 - alphas).sqrt() * 0.5  # Salimans & Ho 2022, appendix D


def test_whoever_knows_v_has_no_loss(tiny: Config) -> None:
    alphas = build_noise_schedule().alphas_cumprod
    latents, token_ids = torch.full((64, 4, 8, 8), 0.5), torch.zeros(64, 32, dtype=torch.long)
    torch.manual_seed(0)
    assert training_loss(Oracle(tiny), latents, token_ids, alphas) < 1e-6
    assert training_loss(TextToLatents(tiny), latents, token_ids, alphas) > 0.1


def test_training_lowers_the_loss(tmp_path: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "learning_rate_share", lambda *_: 1.0)
    one = Rows(torch.ones(1, 4, 8, 8).half(), torch.zeros(1, 4, 32, dtype=torch.long))
    run = train(tmp_path, one, tiny, minutes=25, device=CPU)
    losses = torch.stack(run.losses)
    assert losses[-6:].mean() < 0.8 * losses[:6].mean()


def test_compiling_that_loses_gradients_stops_the_run(
    tmp_path: Path, rows: Rows, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextToLatents, "compile_unet", lambda model: model.unet.conv_in.requires_grad_(False))
    with pytest.raises(RuntimeError, match=r"2 parameters get no gradient \(one: unet.conv_in.bias\).*--no-compile"):
        train(tmp_path, rows, tiny, minutes=6, device=CPU, compiled=True)


def test_compiling_that_loses_nothing_goes_on(
    tmp_path: Path, rows: Rows, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[TextToLatents] = []

    def note(model: TextToLatents) -> None:
        compiled.append(model)

    monkeypatch.setattr(TextToLatents, "compile_unet", note)
    run = train(tmp_path, rows, tiny, minutes=2, device=CPU, compiled=True)
    assert (compiled, run.step) == ([run.model], 2)


def test_timesteps_that_decide_shapes_come_most_often() -> None:
    shares = timestep_shares(1000)
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert shares.min() > 0.2 / 1000  # a quarter of them falls on all timesteps alike
    # scipy's logit-normal: the logit of the position is normal with mean -0.3 and deviation 0.9.
    middle = stats.norm(-0.3, 0.9)
    wanted = 0.75 * (middle.cdf(special.logit(0.65)) - middle.cdf(special.logit(0.2))) + 0.25 * 0.45
    assert shares[200:650].sum() == pytest.approx(wanted, abs=2e-3)


def test_captions_are_wrong_at_little_noise_only(tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    forward = TextToLatents.forward

    def note(model: TextToLatents, noisy: Tensor, timesteps: Tensor, token_ids: Tensor) -> Tensor:
        seen.append((timesteps, token_ids))
        return forward(model, noisy, timesteps, token_ids)

    monkeypatch.setattr(TextToLatents, "forward", note)
    rows = torch.arange(400)
    torch.manual_seed(0)
    training_loss(
        TextToLatents(tiny),
        torch.zeros(400, 4, 4, 4),
        rows[:, None].expand(400, 32),
        build_noise_schedule().alphas_cumprod,
    )
    ((timesteps, token_ids),) = seen
    wrong = token_ids[:, 0] != rows
    assert not wrong[timesteps >= 300].any()
    assert 0.3 < wrong[timesteps < 300].float().mean() < 0.7
    assert torch.equal(token_ids[wrong, 0], rows.roll(1)[wrong])
