from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict

from generation.concepts.files import LoraFile, LoraLayer
from generation.concepts.slots import LoraSlots
from generation.forward import BUCKETS, Forward, warm_buckets
from generation.model import LoadedModel

# Inductor's own modules use what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CPU = torch.device("cpu")
TOKENS = 6


def tiny_unet(**more: Any) -> UNet2DConditionModel:
    state = torch.get_rng_state()
    torch.manual_seed(3)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8,),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        **more,
    )
    torch.set_rng_state(state)
    return unet.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return tiny_unet()


@pytest.fixture(autouse=True)
def without_gradients() -> Any:
    with torch.no_grad():
        yield


def inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(rows)
    sample = torch.randn((rows, 4, 8, 8), generator=source)
    return sample, torch.linspace(900, 20, rows), torch.randn((rows, TOKENS, 16), generator=source)


def stock(unet: Any, rows: int) -> torch.Tensor:
    """Row by row, as nobody else would be there."""
    each = [unet(x[None], t, encoder_hidden_states=h[None]).sample for x, t, h in zip(*inputs(rows), strict=True)]
    return torch.cat(each)


class Recording:
    """A real compiler (AOTAutograd, without code generation) that can be held up, and notes who calls it."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.rows: list[int] = []
        self.started, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    def __call__(self, graph: Any, examples: Any) -> Callable[..., Any]:
        from torch._dynamo.backends.debugging import aot_eager

        self.threads.append(threading.current_thread().name)
        self.started.set()
        assert self.may_go_on.wait(60)
        run = aot_eager(graph, examples)

        def counted(*arguments: Any) -> Any:
            self.rows.append(next(len(a) for a in arguments if a.ndim == 4 and a.shape[1] == 4 and a.shape[3] == 8))
            return run(*arguments)

        return counted


def test_a_lone_picture_is_what_is_compiled_first() -> None:
    assert warm_buckets(guided=True)[0] == 2
    assert warm_buckets(guided=False)[0] == 1
    for guided in (True, False):
        assert set(warm_buckets(guided=guided)) <= set(BUCKETS)


def test_the_smallest_ready_bucket_that_is_not_mostly_padding() -> None:
    compiler = Recording()
    network = Small()
    forward = Forward(network, CPU, torch.float32, compile=True, backend=compiler)
    forward.warm_up(8, 8, TOKENS, buckets=(2, 8, 16))
    assert forward.wait_until_warm(60)
    ran: dict[int, list[int]] = {}
    for rows in (1, 2, 3, 4, 5, 8, 9, 16, 17, 33):
        compiler.rows.clear()
        assert torch.allclose(forward(*inputs(rows)), network(*inputs(rows)[:2])[0], atol=1e-3)
        ran[rows] = list(compiler.rows)
    eager: list[int] = []
    assert ran == {1: [2], 2: [2], 3: eager, 4: [8], 5: [8], 8: [8], 9: [16], 16: [16], 17: eager, 33: eager}


def test_plain_on_a_cpu(unet: UNet2DConditionModel) -> None:
    forward = Forward(unet, CPU, torch.float32)
    forward.warm_up(8, 8, TOKENS, buckets=(2,))
    assert forward.warm
    assert not forward.ready(2, 8, 8)
    for rows in (1, 3):
        assert torch.allclose(forward(*inputs(rows)), stock(unet, rows), atol=1e-5)


def test_pinned_evaluations_all_have_the_same_rows(unet: UNet2DConditionModel) -> None:
    seen: list[int] = []
    handle = unet.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    forward = Forward(unet, CPU, torch.float32, compile=True)
    forward.pin(4)
    forward.warm_up(8, 8, TOKENS, buckets=(2,))
    assert forward.warm, "what is compiled depends on the clock"
    sample, timesteps, hidden = inputs(4)
    together = forward(sample, timesteps, hidden)
    for row in range(4):
        at = slice(row, row + 1)
        assert torch.equal(forward(sample[at], timesteps[at], hidden[at]), together[at])
    assert seen == [4] * 5
    with pytest.raises(ValueError, match="at most the 4 that are pinned, not 5"):
        forward(*inputs(5))
    handle.remove()


def test_every_forward_is_routed(tiny_model: LoadedModel) -> None:
    """In a mixed batch that is padded, a row with a concept and one without are as they are alone."""
    unet = copy.deepcopy(tiny_model.unet)
    lora_slots = LoraSlots(unet)
    name = next(name for name, layer in unet.named_modules() if name.endswith("attn2.to_k"))
    width = unet.get_submodule(name).weight.shape
    source = torch.Generator().manual_seed(5)
    down, up = torch.randn((2, width[1]), generator=source), torch.randn((width[0], 2), generator=source)
    lora_slots.put(3, LoraFile("0" * 64, {name: LoraLayer(down, up, 1.0)}, ({},), 2))
    changed = copy.deepcopy(tiny_model.unet)
    changed.get_submodule(name).weight += 0.5 * up @ down
    forward = Forward(unet, CPU, torch.float32, route=lora_slots.route)
    forward.pin(4)
    slots, weights = torch.tensor([[3, 0, 0, 0], [0, 0, 0, 0]]), torch.tensor([[0.5, 0, 0, 0], [0.0, 0, 0, 0]])
    mixed = forward(*inputs(2), slots=slots, weights=weights)
    with_concept, without = stock(changed, 2), stock(tiny_model.unet, 2)
    assert not torch.allclose(with_concept[0], without[0], atol=1e-3)
    assert torch.allclose(mixed[0], with_concept[0], atol=1e-5)
    assert torch.allclose(mixed[1], without[1], atol=1e-5)
    assert torch.allclose(forward(*inputs(2)), without, atol=1e-5), "the next batch has no concepts"


def test_eager_serves_until_compiled_and_says_the_same() -> None:
    unet, compiler = tiny_unet(), Recording()
    routed: list[Any] = []
    forward = Forward(
        unet, CPU, torch.float32, compile=True, backend=compiler, route=lambda slots, _: routed.append(slots)
    )
    compiler.may_go_on.clear()
    forward.warm_up(8, 8, TOKENS, buckets=(2, 4))
    assert compiler.started.wait(60)
    assert torch.allclose(forward(*inputs(2)), stock(unet, 2), atol=1e-5)  # while the compiler works
    assert not forward.warm
    assert not forward.ready(2, 8, 8)
    compiler.may_go_on.set()
    assert forward.wait_until_warm(60)
    assert forward.ready(2, 8, 8)
    assert forward.ready(4, 8, 8)
    compiler.rows.clear()
    for rows in (2, 3, 4):  # three rows and a dummy
        assert torch.allclose(forward(*inputs(rows)), stock(unet, rows), atol=1e-5)
    assert compiler.rows == [2, 4, 4]
    compiler.rows.clear()
    sample, timesteps, hidden = inputs(2)
    slots = torch.ones((2, 4), dtype=torch.long)
    forward(sample, timesteps, hidden, slots=slots, weights=slots.float())
    assert routed[-1] is slots, "rows with slots are eager: the compiled twin is never routed"
    forward(*inputs(8))  # more than are ready
    forward(torch.cat([sample, sample], dim=3), timesteps, hidden)
    forward(sample, timesteps, torch.cat([hidden, hidden], dim=1))
    assert compiler.rows == [], "nor is anything that was not compiled"
    none = torch.zeros((2, 4), dtype=torch.long)
    forward(sample, timesteps, hidden, slots=none, weights=none.float())
    assert compiler.rows == [2], "rows of a batch in which others have slots"
    compiler.rows.clear()
    unet.conv_out.bias += 1
    assert torch.allclose(forward(*inputs(2)), stock(unet, 2), atol=1e-5), "the twin shares the weights"
    assert compiler.rows == [2]
    assert set(compiler.threads) == {"compile"}, "nobody waits for a compiler"


def test_inputs_beside_the_text_are_passed_on_and_compiled() -> None:
    unet = tiny_unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=24 + 10,
        time_cond_proj_dim=6,
    )
    compiler = Recording()
    forward = Forward(unet, CPU, torch.float32, compile=True, backend=compiler)
    forward.warm_up(8, 8, TOKENS, buckets=(2,))
    assert forward.wait_until_warm(60)
    compiler.rows.clear()
    source = torch.Generator().manual_seed(1)
    added = {
        "time_ids": torch.tensor([[512.0, 512, 0, 0, 64, 64], [64.0, 64, 8, 8, 512, 512]]),
        "text_embeds": torch.randn((2, 10), generator=source),
    }
    told = torch.randn((2, 6), generator=source)
    sample, timesteps, hidden = inputs(2)
    expected = unet(
        sample, timesteps, encoder_hidden_states=hidden, added_cond_kwargs=added, timestep_cond=told
    ).sample
    assert torch.allclose(forward(sample, timesteps, hidden, added, told), expected, atol=1e-5)
    assert compiler.rows == [2]


class Small(torch.nn.Module):
    """Called as a UNet is, and traced in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.config = FrozenDict(
            in_channels=4, cross_attention_dim=16, addition_embed_type=None, time_cond_proj_dim=None
        )
        self.mix = torch.nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)

    def forward(self, sample: torch.Tensor, timesteps: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        return (self.mix(sample) * timesteps.view(-1, 1, 1, 1),)


@pytest.mark.parametrize("fault", ["raises", "wrong"])
def test_where_compiling_fails_eager_goes_on(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    def compiler(graph: Any, _examples: Any) -> Callable[..., Any]:
        if fault == "raises":
            raise RuntimeError("no compiler here")
        return lambda *given: [value * 1.5 for value in graph(*given)]

    network = Small()
    forward = Forward(network, CPU, torch.float32, compile=True, backend=compiler)
    with caplog.at_level(logging.WARNING):
        forward.warm_up(8, 8, TOKENS, buckets=(2, 4))
        assert forward.wait_until_warm(60)
        forward.warm_up(8, 8, TOKENS, buckets=(2,))  # not tried again
        assert forward.warm
    assert len(caplog.records) == 1
    assert not forward.ready(2, 8, 8)
    assert torch.equal(forward(*inputs(2)), network(*inputs(2)[:2])[0])


def test_more_shapes_than_dynamo_specialises_by_itself() -> None:
    more = 20
    compiler = Recording()
    forward = Forward(Small(), CPU, torch.float32, compile=True, backend=compiler)
    for side in range(1, more + 1):
        forward.warm_up(8 * side, 8, TOKENS, buckets=(2,))
    assert forward.wait_until_warm(60)
    assert len(compiler.threads) == more


def test_after_close_nothing_more_is_compiled() -> None:
    compiler = Recording()
    compiler.may_go_on.clear()
    forward = Forward(Small(), CPU, torch.float32, compile=True, backend=compiler)
    forward.warm_up(16, 8, TOKENS, buckets=(2, 4, 8))
    assert compiler.started.wait(60)
    forward.close()
    compiler.may_go_on.set()
    assert forward.wait_until_warm(60)
    assert [forward.ready(rows, 16, 8) for rows in (2, 4, 8)] == [True, False, False]


@pytest.mark.soak
def test_inductor_compiles_a_unet(unet: UNet2DConditionModel) -> None:
    """With g++, a minute or two."""
    forward = Forward(unet, CPU, torch.float32, compile=True)
    forward.warm_up(8, 8, TOKENS, buckets=(2,))
    assert forward.wait_until_warm(500)
    assert forward.ready(2, 8, 8)
    assert torch.allclose(forward(*inputs(2)), stock(unet, 2), atol=1e-5)
