"""One network evaluation for the rows of a batch: padded to sizes that are compiled, eager until they are.

On CUDA a background thread compiles the UNet for the commonest numbers of rows at the model's own size, one
after another, while the eager network serves. On a CPU it is the plain network. With `pin` every evaluation has
the same number of rows and is eager, so that neither neighbours nor the clock can change a bit.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

BUCKETS: Final = (1, 2, 4, 8, 16, 32)
_WARM_PICTURES: Final = (1, 4, 2, 8)
"""The commonest numbers of pictures at once, in the order in which they are worth compiling for."""
_PADDING: Final = 2
"""Times the rows, at most: a padded row takes as long as a real one."""
_RECOMPILE_LIMIT: Final = 64
"""dynamo stops specialising a function after 8 shapes unless it is told."""
_TOLERANCE: Final = 0.05
"""Of the output's size, between compiled and eager: bfloat16 differs by about 0.01, a wrong kernel by 1."""


def warm_buckets(*, guided: bool) -> tuple[int, ...]:
    """What to compile for a model whose pictures usually have two rows each (`guided`), or one."""
    return tuple(pictures * (2 if guided else 1) for pictures in _WARM_PICTURES)


class Inputs(NamedTuple):
    """What a UNet2DConditionModel is called with; the first dimension of each tensor is the row."""

    sample: torch.Tensor
    timesteps: torch.Tensor
    hidden: torch.Tensor
    added: dict[str, torch.Tensor] | None
    timestep_cond: torch.Tensor | None

    def to(self, device: torch.device, dtype: torch.dtype) -> Inputs:
        """Timesteps are float32 always: whole numbers up to 2²⁴ are exact there."""
        return Inputs(
            self.sample.to(device, dtype),
            self.timesteps.to(device, torch.float32),
            self.hidden.to(device, dtype),
            None if self.added is None else {name: values.to(device, dtype) for name, values in self.added.items()},
            None if self.timestep_cond is None else self.timestep_cond.to(device, dtype),
        )

    def shapes(self, rows: int) -> tuple[object, ...]:
        """Padded to `rows`: two inputs with equal shapes can share a compiled graph."""
        added = tuple((name, values.shape[1:]) for name, values in sorted((self.added or {}).items()))
        told = None if self.timestep_cond is None else self.timestep_cond.shape[1:]
        return rows, self.sample.shape[1:], self.hidden.shape[1:], added, told

    def padded(self, rows: int) -> Inputs:
        """With copies of the first row behind the others: real numbers, so that no NaN slows or alarms anything."""
        return Inputs(
            _padded(self.sample, rows),
            _padded(self.timesteps, rows),
            _padded(self.hidden, rows),
            None if self.added is None else {name: _padded(values, rows) for name, values in self.added.items()},
            None if self.timestep_cond is None else _padded(self.timestep_cond, rows),
        )


class Forward:
    """Calls one UNet. `compile` is None for “where it is a CUDA device”.

    `route` is what tells the UNet which row has which LoRA slots (`LoraSlots.route`). Compiled graphs are of a
    twin of the UNet that shares its weights but is never routed: a step in which any row has a slot is eager for
    all rows, on CUDA too.
    """

    def __init__(
        self,
        unet: Any,
        device: torch.device,
        dtype: torch.dtype,
        compile: bool | None = None,
        *,
        route: Callable[[torch.Tensor | None, torch.Tensor | None], None] | None = None,
        backend: str | Callable[..., Any] = "inductor",
    ) -> None:
        self._unet, self._device, self._dtype, self._route = unet, device, dtype, route
        self._fast = device.type == "cuda" if compile is None else compile
        self._pinned: int | None = None
        self._backend = backend
        self._compiled: Callable[..., Any] | None = None
        self._twin: Any = None
        self._failed = False
        self._ready: set[tuple[object, ...]] = set()
        self._wanted: deque[tuple[int, int, int, int]] = deque()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def pin(self, rows: int) -> None:
        """From now on every evaluation has exactly this many rows, and none is compiled."""
        self._pinned = rows

    def __call__(
        self,
        sample: torch.Tensor,
        timesteps: torch.Tensor,
        hidden: torch.Tensor,
        added: dict[str, torch.Tensor] | None = None,
        timestep_cond: torch.Tensor | None = None,
        slots: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The UNet's output `[rows, channels, h, w]`, in its own dtype.

        `sample [rows, channels, h, w]`, `timesteps [rows]`, `hidden [rows, tokens, width]`, each of `added` and
        `timestep_cond` `[rows, n]`; `slots [rows, 4]` and `weights [rows, 4]`, on the CPU, go to `route`,
        for which rows beyond them are plain.

        Raises:
            ValueError: more rows than are pinned.
        """
        rows = len(sample)
        inputs = self._inputs(sample, timesteps, hidden, added, timestep_cond)
        if slots is not None and not slots.any():
            slots = weights = None
        if self._pinned is not None:
            if rows > self._pinned:
                raise ValueError(f"rows must be at most the {self._pinned} that are pinned, not {rows}")
            inputs = inputs.padded(self._pinned)
        elif slots is None and (bucket := self._ready_bucket(inputs)) is not None:
            assert self._compiled is not None
            return call_unet(self._compiled, inputs.padded(bucket))[:rows]
        if self._route is not None:
            self._route(slots, weights)
        return call_unet(self._unet, inputs)[:rows]

    def _ready_bucket(self, inputs: Inputs) -> int | None:
        """The smallest that is compiled and holds these rows without too much padding."""
        rows = len(inputs.sample)
        fitting = (bucket for bucket in BUCKETS if rows <= bucket <= _PADDING * rows)
        return next((bucket for bucket in fitting if inputs.shapes(bucket) in self._ready), None)

    # ── compiling ──

    def warm_up(self, height: int, width: int, tokens: int, buckets: Sequence[int]) -> None:
        """Compile for latents of `height`×`width` and texts of `tokens`, in the background, one of `buckets` (see
        `warm_buckets`) after another.

        Nothing happens where nothing is compiled. A compiled evaluation is tried beside an eager one, so name
        only buckets that fit in memory.
        """
        if not self._fast or self._failed or self._pinned is not None:
            return
        with self._changed:
            self._wanted.extend((bucket, height, width, tokens) for bucket in buckets)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="compile", daemon=True)
                self._twin = self._twin or _twin(self._unet)
                self._thread.start()

    @property
    def warm(self) -> bool:
        """Is nothing being compiled, now or later?"""
        with self._changed:
            return self._thread is None

    def wait_until_warm(self, timeout: float | None = None) -> bool:
        """Block until `warm`, for benchmarks; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def ready(self, rows: int, height: int, width: int) -> bool:
        """Is there a compiled graph for this bucket?"""
        shape = (self._unet.config.in_channels, height, width)
        return any(known[:2] == (rows, torch.Size(shape)) for known in self._ready)

    def close(self) -> None:
        """Compile nothing further. What is being compiled can't be stopped; its daemon thread ends with it."""
        with self._changed:
            self._wanted.clear()

    def _work(self) -> None:
        import torch._dynamo.config as dynamo  # noqa: PLC0415 (seconds, and only where something is compiled)

        dynamo.recompile_limit = max(dynamo.recompile_limit, _RECOMPILE_LIMIT)  # of this thread alone
        try:
            if self._compiled is None:
                self._compiled = torch.compile(self._twin, dynamic=False, fullgraph=True, backend=self._backend)
            while (wanted := self._next_wanted()) is not None:
                inputs = self._inputs(*made_up_inputs(self._unet.config, *wanted))
                self._try(inputs)
                self._ready.add(inputs.shapes(wanted[0]))
        except Exception:  # whatever a compiler raises: the eager network goes on
            logger.warning("the network can't be compiled here; it goes on without", exc_info=True)
            with self._changed:
                self._failed = True
                self._wanted.clear()
                self._thread = None
                self._changed.notify_all()

    def _next_wanted(self) -> tuple[int, int, int, int] | None:
        with self._changed:
            if self._wanted:
                return self._wanted.popleft()
            self._thread = None
            self._changed.notify_all()
            return None

    @torch.no_grad()
    def _try(self, inputs: Inputs) -> None:
        """Compile for these inputs, and see that the graph says what the network says."""
        assert self._compiled is not None
        compiled = call_unet(self._compiled, inputs).float()
        expected = call_unet(self._twin, inputs).float()
        error = float((compiled - expected).norm() / expected.norm())
        if not error <= _TOLERANCE:
            raise ArithmeticError(f"the compiled network is off by {error:.3f} at {tuple(inputs.sample.shape)}")

    def _inputs(
        self,
        sample: torch.Tensor,
        timesteps: torch.Tensor,
        hidden: torch.Tensor,
        added: dict[str, torch.Tensor] | None,
        timestep_cond: torch.Tensor | None,
    ) -> Inputs:
        layout = torch.channels_last if self._fast and self._pinned is None else torch.preserve_format
        inputs = Inputs(sample, timesteps, hidden, added or None, timestep_cond).to(self._device, self._dtype)
        return inputs._replace(sample=inputs.sample.to(memory_format=layout))


def made_up_inputs(config: Any, rows: int, height: int, width: int, tokens: int) -> Inputs:
    """Random inputs of the shapes that a UNet of this configuration takes, float32 on the CPU."""
    generator = torch.Generator("cpu").manual_seed(0)
    added: dict[str, torch.Tensor] | None = None
    if config.addition_embed_type == "text_time":  # SDXL: the pooled text, and six numbers about the size
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        added = {
            "text_embeds": torch.randn((rows, pooled), generator=generator),
            "time_ids": torch.full((rows, 6), 512.0),
        }
    told = config.time_cond_proj_dim
    return Inputs(
        torch.randn((rows, config.in_channels, height, width), generator=generator),
        torch.linspace(900, 100, rows),
        torch.randn((rows, tokens, config.cross_attention_dim), generator=generator),
        added,
        None if told is None else torch.randn((rows, told), generator=generator),
    )


def call_unet(unet: Callable[..., Any], inputs: Inputs) -> torch.Tensor:
    """The output `[rows, channels, h, w]`."""
    output = unet(
        inputs.sample,
        inputs.timesteps,
        encoder_hidden_states=inputs.hidden,
        timestep_cond=inputs.timestep_cond,
        added_cond_kwargs=inputs.added,
        return_dict=False,
    )
    return cast("torch.Tensor", output[0])


def _padded(values: torch.Tensor, rows: int) -> torch.Tensor:
    missing = rows - len(values)
    return values if missing == 0 else torch.cat([values, values[:1].expand(missing, *values.shape[1:])])


def _twin(unet: Any) -> Any:
    """Modules of its own around the same weights: what is set or hooked on one is not seen by the other."""
    shared = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
    return copy.deepcopy(unet, shared)
