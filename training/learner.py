"""What the trainer asks of a method: what moves, what a caption becomes, what the network predicts, the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from generation.conditioning import Conditioning


@dataclass(frozen=True, slots=True, eq=False)
class ParameterGroup:
    """Numbers that share a learning rate."""

    names: list[str]
    parameters: list[nn.Parameter]
    learning_rate: float
    weight_decay: float = 0.0


class Learner(Protocol):
    """One of the three methods, on one model. Its order of groups and parameters is always the same."""

    @property
    def trains_text(self) -> bool:
        """Do captions have to be encoded anew in every step? If not, each is encoded once."""
        ...

    @property
    def trigger(self) -> str:
        """What `<name>` reads as; "" where the file brings vectors of its own."""
        ...

    def groups(self) -> list[ParameterGroup]: ...

    def encode(self, captions: Sequence[str]) -> Conditioning:
        """What the UNet attends to, `hidden` [captions, tokens, width], and `added`, each [captions, n]; with
        gradients where the text is trained and gradients are on."""
        ...

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The UNet's output, float32 [rows, channels, h, w], for rows with these timesteps [rows]."""
        ...

    def instance_caption(self, template: str) -> str:
        """`template` ("a photo of {}") about the concept."""
        ...

    def after_step(self) -> None:
        """After each step of the optimizer: what must hold of the numbers whatever the gradient says."""
        ...

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint: everything that training moves. Not copied."""
        ...

    def load_state(self, tensors: Mapping[str, Tensor]) -> None: ...

    def save(self, path: Path) -> Generator[None, None, None] | None:
        """Write the file that members' prompts use, which `generation.concepts.files` reads, whole or not at all.
        Where that takes long it is a generator, which yields between two pieces of the work."""
        ...


@runtime_checkable
class HasFullWeights(Protocol):
    """A method whose file is less than what was trained."""

    def save_full_weights(self, path: Path) -> None:
        """Write the whole of it, for where the smaller form loses too much."""
        ...
