"""A sampler as a table of numbers, so that one tensor update moves pictures of many samplers at once.

Most samplers are affine: the next sample is a linear combination of the current one, the model output, a short
history of both, and fresh noise. No sampler is written again here: the unmodified diffusers scheduler is run on basis
vectors, and the factors are solved for by least squares. Random numbers ten times as strong run beside them and must
obey the same factors. Where they don't (clipping, noise from elsewhere) the sampler is `Unbatchable`, and its own
`step` has to be used. SCHEDULERS.md lists what was found.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch

from generation.schedulers import build_scheduler, select_timesteps, step_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from generation.schedulers import Scheduler

    Floats = NDArray[np.float64]

HISTORY: Final = 3
"""Earlier evaluations that a coefficient row reaches back to: enough for solvers up to fourth order."""
NOISE: Final = 2 + 2 * HISTORY
"""The column of the noise's coefficient."""

_SPARE: Final = 24
"""Dimensions beside the basis vectors: more than unknowns, so that nothing is fitted by chance."""
_STRONG: Final = 10.0
"""How much stronger the second row of a probe is."""
_EXACT: Final = 1e-6
"""How well factors must reproduce the scheduler, of the greatest number in the sample: some compute in float32."""
_COLLINEAR: Final = 1e-7
"""Directions weaker than this, of the strongest, come from rounding to float32."""
_FAR: Final = 16
"""How far back is looked for the reason that a sampler has no table."""

_CLIPS: Final = "its step is not linear: it clips or thresholds, or its noise comes from elsewhere"
_REACHES_BACK: Final = "its step reaches back further than three evaluations"
_OTHER_NOISE: Final = "it doesn't draw one standard normal per evaluation from the picture's generator"
_NOT_FINITE: Final = "its numbers are not finite"
_SCALES_INPUT: Final = "it does more to the network's input than to scale it"


@dataclass(frozen=True)
class Unbatchable:
    """Why a sampler can't be a table: its own `step` must be used, one scheduler object per picture."""

    reason: str


@dataclass(frozen=True, eq=False)
class SolverTable:
    """What one sampler does at each of its E network evaluations, for one picture.

    The next sample is x' = a·x + b·e + Σⱼ (cⱼ·x₋ⱼ + dⱼ·e₋ⱼ) + n·noise, where x is the sample before the evaluation,
    e the (guided) model output in whatever prediction type the model has, and x₋ⱼ, e₋ⱼ those of j evaluations ago.
    """

    timesteps: Floats
    """`[E]`, what the network is told."""
    input_scale: Floats
    """`[E]`, the network's input is this times the sample."""
    coefficients: Floats
    """`[E, 9]` in the order a, b, c₁, d₁, c₂, d₂, c₃, d₃, n. Exactly 0 for what lies before the first evaluation."""
    draws_noise: tuple[bool, ...]
    """Whether the evaluation draws one float32 standard normal of the sample's shape from the picture's generator.
    It must be drawn even where its coefficient is 0, since later draws come after it."""
    history: int
    """How many earlier evaluations the rows reach back to, 0 to 3."""
    init_noise_sigma: float
    """The first sample is this times a standard normal."""


def solver_table(
    config: Mapping[str, Any], name: str | None, steps: int, strength: float | None
) -> SolverTable | Unbatchable:
    """The table of one of `SCHEDULERS`, or of the model's own (`name` is None), for `steps` inference steps.

    `config` is the model's scheduler configuration, as it is in its JSON file. With a start image (`strength`
    given) the table has the evaluations that are run. Tables are cached: treat them as constants.

    Raises:
        Exception: whatever diffusers raises for a configuration or a number of steps that it can't do: ValueError
            and ImportError when it is made, others from `step`.
    """
    return _cached_table(json.dumps(dict(config), sort_keys=True), name, steps, strength)


@lru_cache(maxsize=256)
def _cached_table(config: str, name: str | None, steps: int, strength: float | None) -> SolverTable | Unbatchable:
    scheduler = copy.deepcopy(_fresh(config, name))
    timesteps = select_timesteps(scheduler, steps, strength, "cpu")
    again = copy.deepcopy(scheduler)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # a scheduler may draw from the global generator
        try:
            probe = list(_run(scheduler, timesteps, torch.float64))
            table = _solved(probe, timesteps, float(again.init_noise_sigma))
            if any(table.draws_noise):  # torch's normals are others in float32, as the engine draws them
                _check_noise(table, list(_run(again, timesteps, torch.float32)))
        except _CannotBatch as cause:
            return Unbatchable(str(cause))
    return table


@lru_cache(maxsize=64)
def _fresh(config: str, name: str | None) -> Scheduler:
    """To be copied: some schedulers take a tenth of a second to make, which a copy doesn't."""
    return build_scheduler(json.loads(config), name)


class _CannotBatch(Exception):
    """Carries the reason."""


class _Evaluation(NamedTuple):
    """What went in and out of one evaluation: both rows of the probe in one vector, at the same strength."""

    sample: Floats
    scaled: Floats
    output: Floats
    noise: Floats | None
    after: Floats


def _run(scheduler: Scheduler, timesteps: torch.Tensor, dtype: torch.dtype) -> Iterator[_Evaluation]:
    """Take a scheduler through its evaluations, by its public interface as a pipeline uses it.

    Two pictures: the first starts with a basis vector and gets a new one as every model output; the second gets
    random numbers ten times as strong, which a linear step doesn't mind.
    """
    width = 1 + len(timesteps) + _SPARE
    random = torch.randn((1 + len(timesteps), width), generator=torch.Generator().manual_seed(0))
    rows = torch.stack([torch.eye(1 + len(timesteps), width), _STRONG * random], dim=1).to(dtype)
    sample, *outputs = rows[:, :, None, None, :]
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    options = step_options(scheduler, generators)
    for timestep, output in zip(timesteps, outputs, strict=True):
        scaled = scheduler.scale_model_input(sample, timestep)
        states = [generator.get_state() for generator in generators]
        after = scheduler.step(output, timestep, sample, **options, return_dict=False)[0]
        if not bool(torch.isfinite(after).all()):
            raise _CannotBatch(_NOT_FINITE)
        noise = _drawn_since(states, generators, output[:1])
        yield _Evaluation(_flat(sample), _flat(scaled), _flat(output), noise, _flat(after))
        sample = after.float().to(dtype)  # so that a scheduler that casts to float32 loses nothing by it


def _flat(rows: torch.Tensor) -> Floats:
    return (rows.double().flatten(1) / torch.tensor([[1.0], [_STRONG]])).flatten().numpy()


def _drawn_since(states: list[torch.Tensor], generators: list[torch.Generator], like: torch.Tensor) -> Floats | None:
    """The one standard normal that was drawn from each generator since it was in its state; None if none was."""
    now = [generator.get_state() for generator in generators]
    if all(map(torch.equal, states, now)):
        return None
    mirror = torch.Generator()
    for dtype in {like.dtype, torch.float32}:
        drawn: list[torch.Tensor] = []
        for before, after in zip(states, now, strict=True):
            mirror.set_state(before)
            drawn.append(torch.randn(like.shape, generator=mirror, dtype=dtype))
            if not torch.equal(mirror.get_state(), after):
                break
        else:
            return _flat(torch.cat(drawn))
    raise _CannotBatch(_OTHER_NOISE)


def _solved(run: list[_Evaluation], timesteps: torch.Tensor, init_noise_sigma: float) -> SolverTable:
    coefficients = np.zeros((len(run), NOISE + 1))
    history = 0
    for index in range(len(run)):
        for reach in (*range(min(HISTORY, index) + 1), min(_FAR, index)):
            columns = _columns(run, index, reach)
            solution = _solution(np.stack(list(columns.values()), axis=1), run[index].after)
            if solution is not None:
                break
        else:
            raise _CannotBatch(_CLIPS)
        if reach > HISTORY:
            raise _CannotBatch(_REACHES_BACK)
        coefficients[index, list(columns)] = solution
        history = max(history, reach)
    return SolverTable(
        timesteps=timesteps.numpy().astype(np.float64),
        input_scale=np.array([_scale(one) for one in run]),
        coefficients=coefficients,
        draws_noise=tuple(one.noise is not None for one in run),
        history=history,
        init_noise_sigma=init_noise_sigma,
    )


def _columns(run: list[_Evaluation], index: int, reach: int) -> dict[int, Floats]:
    """What the evaluation may combine, by the column of its coefficient."""
    columns: dict[int, Floats] = {}
    for back in range(reach + 1):
        columns[2 * back], columns[2 * back + 1] = run[index - back].sample, run[index - back].output
    noise = run[index].noise
    if noise is not None:
        columns[NOISE if reach <= HISTORY else 2 * reach + 2] = noise
    return columns


def _solution(columns: Floats, target: Floats) -> Floats | None:
    """The factors that make `target` out of the columns, the smallest if there are many; None where none do."""
    factors: Floats = np.linalg.lstsq(columns, target, rcond=_COLLINEAR)[0].astype(np.float64)
    miss = np.abs(columns @ factors - target).max() / np.abs(target).max()
    return factors if miss <= _EXACT else None


def _scale(one: _Evaluation) -> float:
    scale = float(one.sample @ one.scaled / (one.sample @ one.sample))
    if np.abs(one.scaled - scale * one.sample).max() > _EXACT * np.abs(one.scaled).max():
        raise _CannotBatch(_SCALES_INPUT)
    return scale


def _check_noise(table: SolverTable, run: list[_Evaluation]) -> None:
    for index, one in enumerate(run):
        columns = _columns(run, index, min(HISTORY, index))
        expected = sum(table.coefficients[index, column] * vector for column, vector in columns.items())
        miss = np.abs(expected - one.after).max() / np.abs(one.after).max()
        if (one.noise is not None) != table.draws_noise[index] or miss > 10 * _EXACT:
            raise _CannotBatch(_OTHER_NOISE)
