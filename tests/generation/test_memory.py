from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from generation.concepts.changes import LoraLayer
from generation.concepts.files import LoraFile
from generation.concepts.slots import LoraSlots, bytes_per_rank
from generation.live_bytes import on_meta, peak_bytes, weight_bytes
from generation.memory import (
    GIB,
    DoesNotFit,
    Needs,
    Plan,
    card_bytes,
    computed_needs,
    is_out_of_memory,
    make_plan,
    measured_needs,
    set_tiling,
)
from generation.model import LoadedModel
from generation.offload import Offload
from tests.benchmarks import memory as benchmark
from tests.generation.concepts import writing

AREA = 64 * 64


def gigabytes(**sizes: float) -> Needs:
    usual = {
        "text_encoders": 2,
        "unet": 4,
        "vae": 1,
        "base": 0.5,
        "per_row": 0.25,
        "decode": 3,
        "decode_tiled": 1,
        "per_rank": 0,
    }
    return Needs(area=AREA, **{name: size * GIB for name, size in (usual | sizes).items()})  # type: ignore[arg-type]


def planned(*args: Any, **options: Any) -> Plan:
    """Without what it was made for."""
    return replace(make_plan(*args, **options), total=0)


@torch.no_grad()
def allocated(run: Callable[[], object]) -> int:
    """The peak of what torch's own profiler sees the allocator hand out."""
    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    assert profile.profiler is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


# ── counting ──


def test_a_network_counted_by_hand() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(100, 1000), torch.nn.ReLU(), torch.nn.Linear(1000, 10))
    empty, inputs = on_meta(network), torch.empty((50, 100), device="meta")
    # While ReLU works, its input and its output are there; the first is gone when the last layer runs.
    assert peak_bytes(lambda: empty(inputs)) == 2 * 50 * 1000 * 4
    assert weight_bytes(network) == (100 * 1000 + 1000 + 1000 * 10 + 10) * 4


def test_views_and_work_in_place_take_nothing() -> None:
    values = torch.empty((100, 100), device="meta")
    assert peak_bytes(lambda: values.T.reshape(50, 200).view(-1).mul_(2)[:5]) == 100 * 100 * 4  # reshape copies
    assert peak_bytes(lambda: values.view(-1).mul_(2)[:5]) == 0


def test_attention_has_no_matrix() -> None:
    query = torch.empty((2, 8, 4096, 40), device="meta", dtype=torch.float16)
    attend = torch.nn.functional.scaled_dot_product_attention
    expected = query.nbytes + 2 * 8 * 4096 * 4
    assert peak_bytes(lambda: attend(query, query, query)) == expected
    assert peak_bytes(lambda: attend(query=query, key=query, value=query, is_causal=True)) == expected


def test_computed_is_what_the_allocator_hands_out() -> None:
    unet = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        layers_per_block=1,
        attention_head_dim=8,
        cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 64),
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    text_encoder = torch.nn.Linear(3, 5)
    text_encoder.config = type("Config", (), {"max_position_embeddings": 16})  # type: ignore[assignment]
    needs = computed_needs([text_encoder], unet, vae, 32, 32)
    assert needs.text_encoders == 20 * 4
    for rows in (1, 4):
        sample, text = torch.randn((rows, 4, 32, 32)), torch.randn((rows, 16, 16))
        real = allocated(lambda x=sample, text=text: unet(x, torch.ones(len(x)), encoder_hidden_states=text))
        assert needs.forward(rows, 32 * 32) == pytest.approx(real, rel=0.02)
    assert needs.decode == pytest.approx(allocated(lambda: vae.decode(torch.randn((1, 4, 32, 32)))), rel=0.25)
    set_tiling(vae, (32, 32), tiled=True)
    tiled = allocated(lambda: vae.decode(torch.randn((1, 4, 32, 32))))
    assert needs.decode_tiled == pytest.approx(tiled, rel=0.4)  # the smaller, the more a CPU's workspaces weigh
    assert tiled < needs.decode / 2
    measured = measured_needs(needs, unet, 32, 32, 16, peak=allocated)
    assert measured.per_row == pytest.approx(needs.per_row, rel=0.02)
    assert measured.decode == needs.decode


def test_a_measurement_never_lowers_what_was_computed(tiny_model: LoadedModel) -> None:
    """The second row seems to cost less than nothing, as where another kernel is chosen for two."""
    needs, peaks = gigabytes(), iter([3 * GIB, 2 * GIB])
    measured = measured_needs(needs, tiny_model.unet, 8, 8, 16, peak=lambda _: next(peaks))
    assert (measured.base, measured.per_row) == (4 * GIB, needs.per_row)
    peaks = iter([GIB // 8, GIB])
    measured = measured_needs(needs, tiny_model.unet, 8, 8, 16, peak=lambda _: next(peaks))
    assert (measured.base, measured.per_row) == (needs.base, GIB * 7 / 8)


def test_lora_ranks_counted_by_the_banks_themselves(tiny_model: LoadedModel) -> None:
    """A file for every layer: what its banks take per unit, and that 128 ranks need no more units than unit 0."""
    unet = copy.deepcopy(tiny_model.unet)
    slots = LoraSlots(unet)
    layers = {
        name: LoraLayer(down, up, 1.0) for name, (down, up) in writing.random_layers(unet, seed=1, rank=128).items()
    }
    slots.put(1, LoraFile("1", layers, (), 128))
    banks = [*slots._downs.values(), slots._ups]
    assert bytes_per_rank(unet) == sum(bank.bytes_for(1) for bank in banks)
    assert {len(bank.values) for bank in banks} == {129}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("DefaultCPUAllocator"), False),
    ],
)
def test_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_cpu_without_memory() -> None:
    """What torch really says."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_what_is_on_a_card_already_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GB, 5 of them free; of the 2 that this process holds, 1.5 are in use."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 1.5 * GIB)
    assert card_bytes(torch.device("cuda")) == 5.5 * GIB


def test_tiles_make_a_picture_of_the_same_size(tiny_model: LoadedModel) -> None:
    vae, latents = tiny_model.vae, torch.zeros((1, 4, 8, 8))
    with torch.no_grad():
        whole = vae.decode(latents, return_dict=False)[0]
        set_tiling(vae, (8, 8), tiled=True)
        tiled = vae.decode(latents, return_dict=False)[0]
        set_tiling(vae, (8, 8), tiled=False)
        assert torch.equal(vae.decode(latents, return_dict=False)[0], whole)
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)


def test_a_tiny_decoder_is_never_tiled(tiny_v_model: LoadedModel) -> None:
    set_tiling(tiny_v_model.vae, (16, 16), tiled=True)
    assert not tiny_v_model.vae.use_tiling


# ── what fits ──


def test_nothing_leaves_a_card_that_has_room() -> None:
    # 4 + 2 + 1 of weights, and 0.5 + 16 · 0.25 of a forward, with 1 reserved, and 6 for a lane
    assert planned(gigabytes(), 18.5 * GIB, AREA) == Plan(16)
    assert planned(gigabytes(), 18.49 * GIB, AREA) == Plan(8)
    assert gigabytes().at_worst(Plan(16), AREA) == 11.5 * GIB


def test_more_than_eight_rows_only_beside_concepts() -> None:
    """A lane of 6 GB; 256 ranks with what growing takes, as much again for what is gathered of them: 0.75 GB here."""
    needs = gigabytes(per_rank=1 / 1024)
    assert planned(needs, 19.25 * GIB, AREA) == Plan(16)
    assert planned(needs, 19.24 * GIB, AREA) == Plan(8)
    assert planned(needs, 10.5 * GIB, AREA) == planned(gigabytes(), 10.5 * GIB, AREA)
    assert planned(needs, 12.5 * GIB, AREA, concepts=0) == Plan(16)
    assert planned(needs, 12.5 * GIB, AREA, concepts=3 * GIB) == planned(gigabytes(), 9.5 * GIB, AREA)
    assert make_plan(needs, 19.25 * GIB, AREA).total == 19.25 * GIB


def test_first_the_decoder_gets_tiles_then_parts_leave() -> None:
    assert planned(gigabytes(decode=4), 11 * GIB, AREA) == Plan(8, tiled=True)
    assert planned(gigabytes(), 10 * GIB, AREA) == Plan(8, ("text_encoders",))
    assert planned(gigabytes(), 8 * GIB, AREA) == Plan(8, ("text_encoders", "vae"), tiled=True)
    # The least there is: UNet 4, text encoders 2 for the moment that they are needed, 1 reserved.
    assert planned(gigabytes(), 7 * GIB, AREA).rows == 4
    with pytest.raises(DoesNotFit, match=r"A cat needs 7\.0 GB of graphics memory; there are 6\.9 GB"):
        make_plan(gigabytes(), 6.9 * GIB, AREA, what="A cat")


def test_larger_pictures_on_a_model_that_is_loaded() -> None:
    needs = gigabytes(decode=0.5)
    assert planned(needs, 19 * GIB, AREA, offloads=[()]).rows == 16
    # Four times the area: 0.5 + 4 · 1 of a forward, 2 of a decode
    assert planned(needs, 13 * GIB, 4 * AREA, offloads=[()]) == Plan(4)
    with pytest.raises(DoesNotFit):
        make_plan(needs, 9 * GIB, 4 * AREA, offloads=[()])
    assert planned(needs, 9.5 * GIB, 4 * AREA, offloads=[()]) == Plan(1, tiled=True)


@pytest.mark.soak
def test_an_8_gb_card_serves_sd_15_and_a_12_gb_card_sdxl() -> None:
    """By the parameters that their papers and model cards name: 859.5 and 123.1 million; 2,567 million."""
    sd, sdxl = (benchmark.needs_of(benchmark.SUBJECTS[index]) for index in (0, 2))
    assert sd.unet == 859_520_964 * 2
    assert sd.vae == 83_653_863 * 2
    assert sd.text_encoders == pytest.approx(123_060_480 * 2, rel=1e-4)  # and the numbers of its positions
    assert sdxl.unet == 2_567_463_684 * 2
    # At the decoder's widest place: three tensors of 256 channels at full size.
    assert sd.decode == pytest.approx(3 * 256 * 512**2 * 2, rel=0.01)
    assert sdxl.decode == pytest.approx(3 * 256 * 1024**2 * 4, rel=0.01)
    assert planned(sd, 8 * GIB, sd.area) == Plan(16)
    assert planned(sdxl, 12 * GIB, sdxl.area) == Plan(8)


# ── offload ──


def test_without_offload_nothing_moves(tiny_model: LoadedModel) -> None:
    before = [weight.data_ptr() for weight in tiny_model.vae.parameters()]
    offload = Offload({"vae": [tiny_model.vae]}, tiny_model.device)
    with offload.using("vae"):
        assert [weight.data_ptr() for weight in tiny_model.vae.parameters()] == before
    with pytest.raises(ValueError, match="offloaded must be among vae, not unet"):
        Offload({"vae": [tiny_model.vae]}, tiny_model.device, ["unet"])


def test_a_visit_that_fails_half_way_leaves_everything_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that takes one tensor and no more."""
    network = torch.nn.Linear(2, 2)
    offload = Offload({"vae": [network]}, torch.device("cpu"), ["vae"])
    homes = [network.weight.data_ptr(), network.bias.data_ptr()]
    taken: list[torch.Tensor] = []

    def move(tensor: torch.Tensor, _: torch.device) -> torch.Tensor:
        if taken:
            assert network.weight.data_ptr() != homes[0]
            raise torch.OutOfMemoryError
        taken.append(tensor.clone())
        return taken[0]

    monkeypatch.setattr(torch.Tensor, "to", move)
    with pytest.raises(torch.OutOfMemoryError), offload.using("vae"):
        pass
    assert [network.weight.data_ptr(), network.bias.data_ptr()] == homes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_parts_visit_the_card() -> None:
    network = torch.nn.Linear(1000, 1000).cuda()
    expected = network.weight.detach().clone()
    offload = Offload({"vae": [network]}, torch.device("cuda"), ["vae"])
    assert network.weight.device.type == "cpu"
    for _ in range(2):
        with offload.using("vae"):
            assert torch.equal(network.weight, expected)
        assert network.weight.device.type == "cpu"
    assert torch.cuda.memory_allocated() < 2 * expected.nbytes
