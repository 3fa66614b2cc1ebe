"""How much memory a network's activations take at once, found without running it: on tensors without content."""

from __future__ import annotations

import copy
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable


@torch.no_grad()
def peak_bytes(run: Callable[[], object]) -> int:
    """The most that the tensors made in `run` take at once.

    With modules and inputs on the `meta` device (see `on_meta`) nothing is computed or allocated. What counts is
    the storage of each operation's results, from its making to its last reference; attention counts as fused
    kernels do it. Convolutions' workspaces and what an allocator rounds up are not in it.
    """
    counter = _LiveBytes()
    with _FusedAttention(), counter:
        run()
    return counter.peak


def on_meta(network: Any) -> Any:
    """The same modules around weights of the same shapes and dtypes, without content."""
    empty: dict[int, Any] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        made = torch.empty_like(tensor, device="meta")
        is_weight = isinstance(tensor, torch.nn.Parameter)
        empty[id(tensor)] = torch.nn.Parameter(made, requires_grad=False) if is_weight else made
    return copy.deepcopy(network, empty)


def weight_bytes(*networks: Any) -> int:
    """Of all parameters and buffers."""
    return sum(tensor.nbytes for network in networks for tensor in (*network.parameters(), *network.buffers()))


class _LiveBytes(TorchDispatchMode):
    """Follows every storage that an operation makes, from its first to its last reference."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {id(storage) for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if id(storage) not in given and id(storage) not in self._known:  # else a view, or in place
                size = storage.nbytes()
                self._known.add(id(storage))
                self.live += size
                weakref.finalize(storage, self._freed, id(storage), size)
        self.peak = max(self.peak, self.live)
        return result

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


class _FusedAttention(TorchFunctionMode):
    """Attention as fused kernels do it: its output and one float32 per query, never the matrix of weights.

    Dao et al., FlashAttention (arXiv 2205.14135). Off a card torch would take its path with the matrix.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
        query, value = given["query"], given["value"]
        output = query.new_empty((*query.shape[:-1], value.shape[-1]))
        query.new_empty(query.shape[:-1], dtype=torch.float32)
        return output


def _storages(tree: Any) -> list[Any]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
