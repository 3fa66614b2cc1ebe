"""Samplers that the stock Stable Diffusion pipelines can run, and how a table does against the real scheduler."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from generation.limits import SCHEDULERS
from generation.schedulers import Scheduler, build_scheduler, select_timesteps, step_options
from generation.solver import SolverTable, Unbatchable, solver_table

NOISE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
"""Stable Diffusion 1.5's."""
PREDICTION_TYPES = ("epsilon", "v_prediction")
STRENGTHS = (None, 0.6)
STEPS = (2, 13)
TOLERANCE = 1e-5
CLIPS = "its step is not linear: it clips or thresholds, or its noise comes from elsewhere"
REACHES_BACK = "its step reaches back further than three evaluations"
NOT_FINITE = "its numbers are not finite"
NEEDS_TORCHSDE = ("CosineDPMSolverMultistepScheduler", "DPMSolverSDEScheduler")
"""Brownian paths, from a package that Atelier doesn't install: a model that comes with them can't be loaded."""


@dataclass(frozen=True)
class Case:
    class_name: str
    options: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    """Why it can't be a table."""
    steps: tuple[int, ...] = STEPS
    tolerance: float = TOLERANCE
    name: str | None = None
    """In `SCHEDULERS`."""

    def __str__(self) -> str:
        return self.name or " ".join([self.class_name, *(f"{key}={value}" for key, value in self.options.items())])


def _case(kind: str, reason: str = "", steps: tuple[int, ...] = STEPS, **options: Any) -> Case:
    return Case(f"{kind}Scheduler", options, reason, steps)


ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
NAMED = [
    Case(choice.class_name, dict(choice.options), steps=(1, *STEPS), name=name) for name, choice in SCHEDULERS.items()
]
OTHERS = [
    _case("CMStochasticIterative", CLIPS),
    _case("CogVideoXDDIM"),
    _case("DDIM", timestep_spacing="trailing"),
    _case("DDIM", CLIPS, clip_sample=True),
    _case("DDIM", CLIPS, thresholding=True),
    _case("DDIMInverse"),
    _case("DDIMParallel"),
    _case("DDIMParallel", CLIPS, clip_sample=True),
    _case("DDPM", variance_type="fixed_large"),
    _case("DDPM", CLIPS, clip_sample=True),
    _case("DDPMParallel"),
    _case("DEISMultistep", solver_order=3),
    _case("DEISMultistep", use_karras_sigmas=True),
    _case("DPMSolverMultistep", solver_order=3),
    _case("DPMSolverMultistep", solver_type="heun"),
    _case("DPMSolverMultistep", algorithm_type="dpmsolver", final_sigmas_type="sigma_min"),
    _case("DPMSolverMultistep", algorithm_type="sde-dpmsolver", final_sigmas_type="sigma_min"),
    _case("DPMSolverMultistep", use_beta_sigmas=True),
    _case("DPMSolverMultistep", use_exponential_sigmas=True),
    _case("DPMSolverMultistep", use_lu_lambdas=True),
    _case("DPMSolverMultistep", euler_at_final=True),
    _case("DPMSolverMultistep", **ZERO_SNR),
    _case("DPMSolverMultistep", CLIPS, thresholding=True),
    _case("DPMSolverMultistepInverse"),
    _case("DPMSolverSinglestep", solver_order=3),
    _case("DPMSolverSinglestep", use_karras_sigmas=True),
    _case("DPMSolverSinglestep", CLIPS, thresholding=True),
    _case("EDMDPMSolverMultistep"),
    _case("EDMDPMSolverMultistep", solver_order=3),
    _case("EDMDPMSolverMultistep", algorithm_type="sde-dpmsolver++"),
    _case("EDMEuler"),
    # Its samples start 4,096 times as strong as they end: in float32 the scheduler itself is this inexact.
    Case("EulerAncestralDiscreteScheduler", ZERO_SNR, tolerance=1e-3),
    _case("EulerDiscrete", interpolation_type="log_linear"),
    _case("EulerDiscrete", use_beta_sigmas=True),
    _case("EulerDiscrete", use_exponential_sigmas=True),
    _case("EulerDiscrete", use_karras_sigmas=True),
    _case("EulerDiscrete", **ZERO_SNR),
    _case("HeunDiscrete", use_karras_sigmas=True),
    _case("HeunDiscrete", CLIPS, clip_sample=True),
    _case("IPNDM"),
    _case("LMSDiscrete", use_exponential_sigmas=True),
    _case("PNDM", REACHES_BACK, (13,), skip_prk_steps=False),
    _case("SASolver"),
    _case("SASolver", predictor_order=3, corrector_order=3),
    _case("SASolver", CLIPS, thresholding=True),
    _case("UniPCMultistep", solver_order=3),
    _case("UniPCMultistep", use_karras_sigmas=True),
    _case("UniPCMultistep", predict_x0=False, final_sigmas_type="sigma_min"),
    _case("UniPCMultistep", NOT_FINITE, solver_type="bh1"),
    _case("UniPCMultistep", CLIPS, thresholding=True),
]
CASES = NAMED + OTHERS


@dataclass(frozen=True)
class Comparison:
    """One table beside the real scheduler."""

    table: SolverTable | Unbatchable
    timesteps: list[float]
    """The scheduler's."""
    deviation: float
    """Of the samples, relative to the greatest number in each; worst evaluation."""
    input_deviation: float
    init_noise_sigma: float


def comparisons(case: Case) -> list[Comparison]:
    return [
        _compared(json.dumps(case.options | {"_class_name": case.class_name}), case.name, prediction, steps, strength)
        for prediction in PREDICTION_TYPES
        for strength in STRENGTHS
        for steps in case.steps
        if strength is None or int(steps * strength) > 0
    ]


@cache
def _compared(options: str, name: str | None, prediction: str, steps: int, strength: float | None) -> Comparison:
    config = {**NOISE, "prediction_type": prediction, **json.loads(options)}
    if name is not None:
        config = {**NOISE, "prediction_type": prediction, "_class_name": "DDIMScheduler"}
    table = solver_table(config, name, steps, strength)
    scheduler = copy.deepcopy(_scheduler(json.dumps(config), name))
    timesteps = select_timesteps(scheduler, steps, strength, "cpu")
    sigma = float(scheduler.init_noise_sigma)
    if isinstance(table, Unbatchable):
        return Comparison(table, timesteps.tolist(), 0.0, 0.0, sigma)
    return Comparison(table, timesteps.tolist(), *_deviations(scheduler, timesteps, table), sigma)


@cache
def _scheduler(config: str, name: str | None) -> Scheduler:
    return build_scheduler(json.loads(config), name)


def _deviations(scheduler: Scheduler, timesteps: torch.Tensor, table: SolverTable) -> tuple[float, float]:
    """The real run beside the recurrence, from the same random start, outputs and noise: samples, and inputs.

    In float64 where nothing is drawn; normals are drawn in float32, as the engine's, since others would differ.
    """
    dtype = torch.float32 if any(table.draws_noise) else torch.float64
    shape, source = (1, 4, 8, 8), torch.Generator().manual_seed(0)
    theirs, ours = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    real = torch.randn(shape, generator=source).to(dtype) * float(scheduler.init_noise_sigma)
    options = step_options(scheduler, [theirs])
    samples, outputs, worst, worst_input = [real.double()], [], 0.0, 0.0
    for index, timestep in enumerate(timesteps):
        output = torch.randn(shape, generator=source).to(dtype)
        scaled = scheduler.scale_model_input(real, timestep)
        worst_input = max(worst_input, _difference(table.input_scale[index] * real, scaled))
        real = scheduler.step(output, timestep, real, **options, return_dict=False)[0].to(dtype)
        outputs.append(output.double())
        row = table.coefficients[index]
        after = torch.zeros(shape, dtype=torch.float64)
        for back in range(min(table.history, index) + 1):
            after += row[2 * back] * samples[index - back] + row[2 * back + 1] * outputs[index - back]
        if table.draws_noise[index]:
            after += row[8] * torch.randn(shape, generator=ours)
        samples.append(after)
        worst = max(worst, _difference(after, real))
    assert torch.equal(theirs.get_state(), ours.get_state()), "drawn differently"
    return worst, worst_input


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())
