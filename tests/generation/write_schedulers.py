"""Writes generation/SCHEDULERS.md: every sampler, and how it runs in a shared batch.

Run as `python -m tests.generation.write_schedulers`.
"""

from __future__ import annotations

from pathlib import Path

from generation.limits import SCHEDULERS
from generation.solver import SolverTable, Unbatchable
from tests.generation.solver_cases import CASES, NEEDS_TORCHSDE, STEPS, Case, comparisons

PATH = Path(__file__).parents[2] / "generation/SCHEDULERS.md"
FEW, MANY = STEPS
DISTILLED = SCHEDULERS["lcm"].max_steps
HEAD = f"""# Samplers

<!-- Written by `python -m tests.generation.write_schedulers`; a test compares. -->

Every sampler that diffusers' stock Stable Diffusion pipelines can run. “Batched” ones move all pictures of a step
with one tensor update (`generation/solver.py`): their factors are found from the unmodified diffusers scheduler.
Beside it, with random samples and model outputs, no number of any step differs by more than the last column says,
of the greatest number in the sample: at {FEW} and {MANY} steps, text to image and image to image (strength 0.6),
ε- and v-prediction. Samplers that run their “own step” give the same pictures, one at a time.

Earlier evaluations: how many the update looks back to. Noise: drawn from the picture's own generator during
sampling.

| Name | diffusers class | Options | Earlier evaluations | Noise | Runs | Differs by |
|---|---|---|---|---|---|---|
"""
TAIL = f"""
{" and ".join(f"`{name}`" for name in NEEDS_TORCHSDE)} need the package
torchsde, which Atelier doesn't install.

A named sampler takes the model's noise (betas, prediction type, spacing) and its class's defaults for the rest.
LCM and TCD take at most {DISTILLED} steps: they pick them from those that their models are distilled for.
"""


def document() -> str:
    return HEAD + "".join(map(_row, CASES)) + TAIL


def _row(case: Case) -> str:
    found = comparisons(case)
    tables = [one.table for one in found if isinstance(one.table, SolverTable)]
    reasons = {one.table.reason for one in found if isinstance(one.table, Unbatchable)}
    options = ", ".join(f"{key}={value}" for key, value in case.options.items())
    name = f"`{case.name}` ({SCHEDULERS[case.name].label})" if case.name else ""
    cells = [name, case.class_name, options]
    if reasons:
        cells += ["", "", f"own step: {'; '.join(sorted(reasons))}", ""]
    else:
        deviation = max(one.deviation for one in found)
        assert deviation <= case.tolerance, f"{case}: {deviation:.1e}"
        history = max(table.history for table in tables)
        noise = "yes" if any(any(table.draws_noise) for table in tables) else "no"
        cells += [str(history), noise, "batched", f"≤ {case.tolerance:.0e}".replace("e-0", "e-")]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
