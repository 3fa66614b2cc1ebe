"""What may be asked of any model, as plain numbers and names. A loaded model narrows this further."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMPT_CHARACTERS: Final = 2_000
GUIDANCE_SCALE: Final = (1.0, 30.0)
INFERENCE_STEPS: Final = (1, 150)
SEED_MAX: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""
SIDE: Final = (64, 2048)
SIDE_MULTIPLE: Final = 8
IMAGES: Final = 16
STRENGTH: Final = (0.05, 1.0)
CLIP_SKIP: Final = (0, 11)
CONCEPTS: Final = 8
"""In one request. Up to four share the batch; more run in a lane of their own."""
CONCEPT_WEIGHT: Final = (-2.0, 2.0)

DEFAULT_GUIDANCE_SCALE: Final = 7.5
DEFAULT_STRENGTH: Final = 0.8
"""As in diffusers' image-to-image pipelines."""

IMAGE_PIXELS: Final = 40_000_000
IMAGE_BYTES: Final = 20 * 1024 * 1024


class SchedulerChoice(msgspec.Struct, frozen=True):
    """A sampler by its field name: which diffusers class makes it, and how that class is configured."""

    label: str
    """As other programs write it in a picture's `parameters`."""
    class_name: str
    options: dict[str, str | bool | int] = {}
    max_steps: int = INFERENCE_STEPS[1]
    """LCM and TCD pick their steps from the 50 that their models are distilled for."""


_PLAIN: Final[dict[str, str | bool | int]] = {"use_karras_sigmas": False}
_KARRAS: Final[dict[str, str | bool | int]] = {"use_karras_sigmas": True}
_ODE: Final[dict[str, str | bool | int]] = {"algorithm_type": "dpmsolver++", "solver_order": 2}
_SDE: Final[dict[str, str | bool | int]] = {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}
_SDE3: Final[dict[str, str | bool | int]] = {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}

SCHEDULERS: Final[Mapping[str, SchedulerChoice]] = MappingProxyType(
    {
        "ddim": SchedulerChoice("DDIM", "DDIMScheduler"),
        "ddpm": SchedulerChoice("DDPM", "DDPMScheduler"),
        "deis": SchedulerChoice("DEIS", "DEISMultistepScheduler"),
        "dpm2": SchedulerChoice("DPM2", "KDPM2DiscreteScheduler", _PLAIN),
        "dpm2_karras": SchedulerChoice("DPM2 Karras", "KDPM2DiscreteScheduler", _KARRAS),
        "dpm2_a": SchedulerChoice("DPM2 a", "KDPM2AncestralDiscreteScheduler", _PLAIN),
        "dpm2_a_karras": SchedulerChoice("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", _KARRAS),
        "dpmpp_2m": SchedulerChoice("DPM++ 2M", "DPMSolverMultistepScheduler", _ODE | _PLAIN),
        "dpmpp_2m_karras": SchedulerChoice("DPM++ 2M Karras", "DPMSolverMultistepScheduler", _ODE | _KARRAS),
        "dpmpp_2m_sde": SchedulerChoice("DPM++ 2M SDE", "DPMSolverMultistepScheduler", _SDE | _PLAIN),
        "dpmpp_2m_sde_karras": SchedulerChoice("DPM++ 2M SDE Karras", "DPMSolverMultistepScheduler", _SDE | _KARRAS),
        "dpmpp_2s": SchedulerChoice("DPM++ 2S", "DPMSolverSinglestepScheduler", _ODE | _PLAIN),
        "dpmpp_3m_sde": SchedulerChoice("DPM++ 3M SDE", "DPMSolverMultistepScheduler", _SDE3 | _PLAIN),
        "dpmpp_3m_sde_karras": SchedulerChoice("DPM++ 3M SDE Karras", "DPMSolverMultistepScheduler", _SDE3 | _KARRAS),
        "dpmpp_sde": SchedulerChoice("DPM++ SDE", "DPMSolverSinglestepScheduler", _SDE | _PLAIN),
        "dpmpp_sde_karras": SchedulerChoice("DPM++ SDE Karras", "DPMSolverSinglestepScheduler", _SDE | _KARRAS),
        "euler": SchedulerChoice("Euler", "EulerDiscreteScheduler"),
        "euler_a": SchedulerChoice("Euler a", "EulerAncestralDiscreteScheduler"),
        "heun": SchedulerChoice("Heun", "HeunDiscreteScheduler"),
        "lcm": SchedulerChoice("LCM", "LCMScheduler", max_steps=50),
        "lms": SchedulerChoice("LMS", "LMSDiscreteScheduler", _PLAIN),
        "lms_karras": SchedulerChoice("LMS Karras", "LMSDiscreteScheduler", _KARRAS),
        "pndm": SchedulerChoice("PNDM", "PNDMScheduler", {"skip_prk_steps": True}),
        "tcd": SchedulerChoice("TCD", "TCDScheduler", max_steps=50),
        "unipc": SchedulerChoice("UniPC", "UniPCMultistepScheduler"),
    }
)


def scheduler_label(name: str) -> str:
    """The name that people know (`DPM++ 2M`) for a name in `SCHEDULERS`; any other name as it is."""
    choice = SCHEDULERS.get(name)
    return choice.label if choice else name
