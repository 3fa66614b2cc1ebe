"""Parts of a model that wait in the main memory and visit the card only while they are used."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence


class Offload:
    """`parts` by name, each one or more networks; those in `offloaded` leave `device` at once.

    Weights never change while they visit, so nothing is copied back: a visit costs one transfer.
    """

    def __init__(
        self, parts: Mapping[str, Sequence[Any]], device: torch.device, offloaded: Sequence[str] = ()
    ) -> None:
        unknown = set(offloaded) - set(parts)
        if unknown:
            raise ValueError(f"offloaded must be among {', '.join(parts)}, not {', '.join(sorted(unknown))}")
        self._device = device
        self._homes: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for name in offloaded:
            tensors = {id(t): t for network in parts[name] for t in (*network.parameters(), *network.buffers())}
            self._homes[name] = [(tensor, tensor.data.cpu()) for tensor in tensors.values()]
            self._send_home(name)

    @contextmanager
    def using(self, name: str) -> Generator[None]:
        """The part is on the device inside of the block. Nothing happens for parts that are not offloaded."""
        homes = self._homes.get(name, [])
        try:  # also around the moves: memory may run out half way
            for tensor, home in homes:
                tensor.data = home.to(self._device)
            yield
        finally:
            self._send_home(name)

    def _send_home(self, name: str) -> None:
        for tensor, home in self._homes.get(name, []):
            tensor.data = home
