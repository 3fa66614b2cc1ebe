"""Any scheduler that the stock Stable Diffusion pipelines accept, one object per request.

A scheduler object keeps the place and the history of one request, so it is never shared.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, Protocol

import diffusers
import torch

from generation.limits import SCHEDULERS

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOLVER_KEYS: Final = frozenset(
    {
        "algorithm_type",
        "solver_order",
        "solver_type",
        "use_beta_sigmas",
        "use_exponential_sigmas",
        "use_karras_sigmas",
        "use_lu_lambdas",
    }
)
"""What a configuration says about the model's own sampler; the rest is about its noise, and holds for any sampler."""


class Scheduler(Protocol):
    """The part of diffusers' `SchedulerMixin` that a denoising loop uses."""

    order: int
    timesteps: torch.Tensor
    init_noise_sigma: Any
    alphas_cumprod: torch.Tensor

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None: ...
    def scale_model_input(self, sample: torch.Tensor, timestep: Any) -> torch.Tensor: ...
    def add_noise(
        self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor: ...
    def step(
        self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any: ...


def corrected_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's configuration as `StableDiffusionPipeline` corrects it on loading.

    Old repositories have `steps_offset` and `clip_sample` wrong or leave them out, which is as wrong: DDIM then
    starts at offset 0 and clips latents to ±1. Classes that know neither pass over them.
    """
    return {**config, "steps_offset": 1, "clip_sample": False}


def build_scheduler(config: Mapping[str, Any], name: str | None = None) -> Scheduler:
    """A fresh scheduler: the model's own (`name` is None), or one of `SCHEDULERS` for the model's noise.

    Raises:
        ValueError, ImportError: diffusers can't make the model's own scheduler with this configuration, or here.
    """
    if name is None:
        return getattr(diffusers, config["_class_name"]).from_config(dict(config))
    choice = SCHEDULERS[name]
    noise = {key: value for key, value in config.items() if key not in _SOLVER_KEYS}
    return getattr(diffusers, choice.class_name).from_config(noise, **choice.options)


def scheduler_name(config: Mapping[str, Any]) -> str:
    """The name in `SCHEDULERS` of a model's own scheduler, or its class where it is none of them."""
    for name, choice in SCHEDULERS.items():
        same = all(config.get(key, value) == value for key, value in choice.options.items())
        if choice.class_name == config["_class_name"] and same:
            return name
    return str(config["_class_name"])


def select_timesteps(scheduler: Scheduler, steps: int, strength: float | None, device: Any) -> torch.Tensor:
    """Set the scheduler up and return the timesteps that are run, `[evaluations]`.

    With a start image (`strength` given) the first part is skipped, as in
    `StableDiffusionImg2ImgPipeline.get_timesteps`.
    """
    scheduler.set_timesteps(steps, device=device)
    if strength is None:
        return scheduler.timesteps
    begin = max(steps - int(steps * strength), 0) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)  # type: ignore[attr-defined]
    return scheduler.timesteps[begin:]


def step_options(scheduler: Scheduler, generators: list[torch.Generator]) -> dict[str, Any]:
    """What this scheduler's `step` takes beside the samples. Ancestral ones draw their noise here."""
    accepted = inspect.signature(scheduler.step).parameters
    options: dict[str, Any] = {"eta": 0.0, "generator": generators}
    return {name: value for name, value in options.items() if name in accepted}


def noise_levels(config: Mapping[str, Any]) -> torch.Tensor:
    """ᾱ of every training timestep, `[timesteps]` float32: how much of the picture is left in the noise."""
    return build_scheduler(config, "ddim").alphas_cumprod


def estimate_original(
    alphas_cumprod: torch.Tensor,
    prediction_type: str,
    model_input: torch.Tensor,
    model_output: torch.Tensor,
    timestep: float,
) -> torch.Tensor:
    """What the finished latents look like from here (x₀), `[images, channels, h, w]`.

    Every scheduler hands the network a variance-preserving input x_t = α·x₀ + σ·ε with α² = ᾱ_t and
    α² + σ² = 1, so the estimate needs no knowledge of the solver (DDIM, arXiv 2010.02502, equation 12;
    v-prediction: arXiv 2202.00512, appendix D).
    """
    if prediction_type == "sample":
        return model_output
    index = min(max(round(timestep), 0), len(alphas_cumprod) - 1)
    alpha_bar = float(alphas_cumprod[index])
    alpha, sigma = max(alpha_bar, 1e-6) ** 0.5, (1 - alpha_bar) ** 0.5
    if prediction_type == "v_prediction":
        return alpha * model_input - sigma * model_output
    return (model_input - sigma * model_output) / alpha
