"""Tables against the unmodified schedulers, for every sampler that the stock pipelines can run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from generation import solver
from generation.limits import SCHEDULERS
from generation.schedulers import build_scheduler, step_options
from generation.solver import SolverTable, Unbatchable, solver_table
from tests.generation.solver_cases import (
    CASES,
    CLIPS,
    NEEDS_TORCHSDE,
    NOISE,
    OTHERS,
    Case,
    comparisons,
)
from tests.generation.write_schedulers import PATH, document

OTHER_NOISE = "it doesn't draw one standard normal per evaluation from the picture's generator"
CONFIG = {**NOISE, "prediction_type": "epsilon", "_class_name": "DDIMScheduler"}

# Some of diffusers' options are on their way out, and warn.
pytestmark = pytest.mark.filterwarnings("ignore:`algorithm_types dpmsolver:FutureWarning")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_table_does_what_the_scheduler_does(case: Case) -> None:
    for one in comparisons(case):
        if case.reason:
            assert one.table == Unbatchable(case.reason)
            continue
        assert isinstance(one.table, SolverTable), one.table
        assert one.table.timesteps.tolist() == one.timesteps
        assert one.table.init_noise_sigma == one.init_noise_sigma
        assert one.input_deviation <= 1e-6
        assert one.deviation <= case.tolerance
        assert one.table.coefficients.shape == (len(one.timesteps), 9)
        assert len(one.table.draws_noise) == len(one.timesteps)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_named_sampler_can_share_a_batch(name: str) -> None:
    for steps in (1, 3, 30):
        table = solver_table(CONFIG, name, steps, None)
        assert isinstance(table, SolverTable)
        assert np.isfinite(table.coefficients).all()
        # Great factors that cancel would lose float32's digits; 15 is 1/α at the first timestep.
        assert np.abs(table.coefficients).max() < 16


@pytest.mark.parametrize("name", [name for name, choice in SCHEDULERS.items() if choice.max_steps < 150])
def test_the_most_steps_are_diffusers_own(name: str) -> None:
    most = SCHEDULERS[name].max_steps
    assert isinstance(solver_table(CONFIG, name, most, None), SolverTable)
    with pytest.raises(ValueError, match="smaller than"):
        solver_table(CONFIG, name, most + 1, None)


@pytest.mark.parametrize(
    ("name", "history"),
    [("ddim", 0), ("euler", 0), ("euler_a", 0), ("heun", 1), ("dpm2", 1), ("dpmpp_2m", 1), ("unipc", 2), ("pndm", 3)],
)
def test_the_history_is_the_shortest(name: str, history: int) -> None:
    table = solver_table(CONFIG, name, 12, None)
    assert isinstance(table, SolverTable)
    assert table.history == history
    for index, row in enumerate(table.coefficients):  # and nothing lies before the first evaluation
        assert not row[2 + 2 * min(history, index) : 8].any()


def test_ddim_is_the_papers_formula() -> None:
    """arXiv 2010.02502, equation 12 with σ = 0, written out in float64."""
    table = solver_table(CONFIG, "ddim", 10, None)
    assert isinstance(table, SolverTable)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alpha_bar = np.cumprod(1 - betas)
    now = alpha_bar[np.arange(901, 0, -100)]
    after = np.append(now[1:], alpha_bar[0])
    sample = np.sqrt(after / now)
    np.testing.assert_allclose(table.coefficients[:, 0], sample, rtol=1e-4)
    output = np.sqrt(1 - after) - sample * np.sqrt(1 - now)
    np.testing.assert_allclose(table.coefficients[:, 1], output, rtol=1e-4)
    assert table.timesteps.tolist() == list(range(901, 0, -100))
    assert not any(table.draws_noise)


def test_noise_that_counts_for_nothing_is_drawn_all_the_same() -> None:
    """Later draws come after it. The real scheduler says at which evaluations its generator moves."""
    scheduler: Any = build_scheduler(CONFIG, "dpm2_a")
    scheduler.set_timesteps(6)
    generator = torch.Generator().manual_seed(0)
    sample, moved = torch.ones(1, 4, 8, 8), []
    for timestep in scheduler.timesteps:
        scheduler.scale_model_input(sample, timestep)
        before = generator.get_state()
        scheduler.step(sample, timestep, sample, **step_options(scheduler, [generator]))
        moved.append(not torch.equal(before, generator.get_state()))
    table = solver_table(CONFIG, "dpm2_a", 6, None)
    assert isinstance(table, SolverTable)
    assert list(table.draws_noise) == moved
    ancestral = solver_table(CONFIG, "euler_a", 6, None)
    assert isinstance(ancestral, SolverTable)
    assert all(ancestral.draws_noise)
    assert (np.abs(ancestral.coefficients[:, 8]) > 1e-9).tolist() == [True] * 5 + [False]


class TwiceDrawing(diffusers.EulerAncestralDiscreteScheduler):
    """Draws a second normal that it doesn't use."""

    def step(self, *args: Any, generator: list[torch.Generator], **options: Any) -> Any:
        for one in generator:
            torch.randn(1, generator=one)
        return super().step(*args, generator=generator, **options)


class InDoubles(diffusers.DDIMScheduler):
    """Draws in float64 even where the pictures are float32: not the numbers that the engine would draw."""

    def step(self, *args: Any, generator: list[torch.Generator], **options: Any) -> Any:
        (sample, *rest) = super().step(*args, **options)
        noise = [torch.randn(sample[:1].shape, dtype=torch.float64, generator=one) for one in generator]
        return sample + torch.cat(noise).to(sample.dtype), *rest


class FromElsewhere(diffusers.DDIMScheduler):
    """Adds noise from the global generator."""

    def step(self, *args: Any, **options: Any) -> Any:
        (sample, *rest) = super().step(*args, **options)
        return sample + torch.randn(sample.shape), *rest


class Softly(diffusers.DDIMScheduler):
    """Bends only what is far out, as a clip at a high threshold does."""

    def step(self, *args: Any, **options: Any) -> Any:
        (sample, *rest) = super().step(*args, **options)
        return torch.where(sample.abs() > 8, 8 + (sample - 8) / 2, sample), *rest


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (TwiceDrawing, OTHER_NOISE),
        (InDoubles, OTHER_NOISE),
        (FromElsewhere, CLIPS),
        (Softly, CLIPS),
    ],
)
def test_samplers_that_no_table_holds(kind: type, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers, kind.__name__, kind, raising=False)
    before = torch.get_rng_state()
    found = solver_table({**NOISE, "_class_name": kind.__name__}, None, 8, None)
    assert found == Unbatchable(reason)
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_that_a_configuration_makes_infinite() -> None:
    """ε says nothing about the picture in pure noise: the stock pipeline divides by zero, too."""
    config = {**CONFIG, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    assert solver_table(config, "ddim", 8, None) == Unbatchable("its numbers are not finite")
    assert isinstance(solver_table({**config, "prediction_type": "v_prediction"}, "ddim", 8, None), SolverTable)


def test_a_named_sampler_is_the_same_whatever_the_model_came_with() -> None:
    own = build_scheduler(CONFIG, "dpmpp_2m_sde_karras").config  # type: ignore[attr-defined]
    for name in ("dpmpp_2m", "dpmpp_2s", "dpm2", "unipc"):
        one, other = solver_table(CONFIG, name, 6, None), solver_table(own, name, 6, None)
        assert isinstance(one, SolverTable)
        assert isinstance(other, SolverTable)
        assert np.array_equal(one.coefficients, other.coefficients)


def test_tables_are_kept() -> None:
    first = solver_table(CONFIG, "unipc", 9, 0.5)
    assert solver_table(dict(reversed(CONFIG.items())), "unipc", 9, 0.5) is first
    assert solver_table(CONFIG, "unipc", 9, 0.6) is not first


def test_a_table_costs_little_next_to_a_picture() -> None:
    """About 15 ms on one core; the bound leaves room for busy machines."""
    solver_table(CONFIG, "dpmpp_2m", 29, None)
    solver._cached_table.cache_clear()
    start = time.perf_counter()
    solver_table(CONFIG, "dpmpp_2m", 30, None)
    assert time.perf_counter() - start < 0.5


def test_discord_can_offer_them_all() -> None:
    assert len(SCHEDULERS) <= 25


def test_no_sampler_is_forgotten(tiny_folder: Path) -> None:
    """Whatever is not among the cases, the stock text-to-image pipeline can't run with these betas."""
    known = {case.class_name for case in CASES} | set(NEEDS_TORCHSDE)
    pipeline: Any = StableDiffusionPipeline.from_pretrained(tiny_folder, use_safetensors=True)
    ran: list[str] = []
    for name in dir(diffusers.schedulers):
        if not name.endswith("Scheduler") or name in known:
            continue
        try:
            own = getattr(diffusers, name).from_config(dict(pipeline.scheduler.config))
            stock: Any = StableDiffusionPipeline(
                **{**pipeline.components, "scheduler": own}, requires_safety_checker=False
            )
            stock.set_progress_bar_config(disable=True)
            stock("a red apple", num_inference_steps=4, output_type="latent")
        except Exception:  # noqa: BLE001
            continue
        ran.append(name)
    assert ran == []
    enumerated = {one.name for one in diffusers.schedulers.KarrasDiffusionSchedulers}
    assert enumerated <= known


def test_the_page_about_samplers_is_up_to_date() -> None:
    written = PATH.read_text(encoding="utf-8")
    assert written == document(), "rewrite it: python -m tests.generation.write_schedulers"
    assert len(OTHERS) + len(SCHEDULERS) == sum(line.startswith("| ") for line in written.splitlines()) - 1
