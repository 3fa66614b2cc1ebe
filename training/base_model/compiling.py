"""Compile a network, and see that it still learns."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def learning(module: nn.Module, loss: Callable[[], Tensor]) -> set[str]:
    """Names of the parameters that a step down the ``loss`` would move."""
    loss().backward()
    names = {name for name, value in module.named_parameters() if value.grad is not None and value.grad.any()}
    module.zero_grad(set_to_none=True)
    return names


def compile_checked(module: nn.Module, compile_parts: Callable[[], None], loss: Callable[[], Tensor]) -> None:
    """Call ``compile_parts``; raise RuntimeError if parameters of ``module`` no longer learn.

    torch 2.13 compiles the UNet under a CPU's autocast without a word, and 332 of its parameters get no gradient.
    The loss falls all the same, because the text encoder does learn.
    """
    before = learning(module, loss)
    compile_parts()
    if lost := before - learning(module, loss):
        message = f"compiled, {len(lost)} parameters get no gradient (one: {min(lost)}); train with --no-compile"
        raise RuntimeError(message)
