"""All chance of a training: each draw's generator comes from the job and the step, so there is no state to save."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def number_of(job: str, what: str | int) -> int:
    """63 bits of SHA-256 over both. (Not `hash()`: it is another in every process.)"""
    return int.from_bytes(hashlib.sha256(f"{job}\n{what}".encode()).digest()[:8], "big") >> 1


def generator_of(job: str, what: str | int) -> torch.Generator:
    """For step `what` of the training, or another occasion by name. On the CPU, so that devices draw alike."""
    return torch.Generator("cpu").manual_seed(number_of(job, what))


def choose(items: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` of so many, [count]: each once before any comes twice."""
    rounds = -(-count // items)
    return torch.cat([torch.randperm(items, generator=generator) for _ in range(rounds)])[:count]


def spread_timesteps(count: int, first: int, last: int, generator: torch.Generator) -> Tensor:
    """`count` timesteps in first … last − 1, [count]: uniform, and each from a stratum of its own.

    Rows of a step see little and much noise alike, so the gradient varies less than of independent draws.
    """
    places = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (first + places / count * (last - first)).long().clamp(first, last - 1)


def pick(options: Sequence[str], generator: torch.Generator) -> str:
    """One of them, all alike."""
    return options[int(torch.randint(len(options), (1,), generator=generator))]
