"""Per-row LoRAs in one UNet against diffusers and peft, one row at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from generation.concepts.changes import LoraLayer
from generation.concepts.files import LoraFile, read_concept
from generation.concepts.slots import LoraSlots
from generation.model import LoadedModel, load_model
from tests.generation.concepts.writing import (
    all_layers,
    attention_only,
    kohya_style,
    linear_only,
    peft_style,
    random_layers,
    write,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

Row = dict[int, float]
"""Weights by slot."""
ROWS: list[Row] = [
    {},
    {1: 1.0},
    {2: 0.7},
    {3: -0.5, 1: 0.4},
    {1: 0.3, 2: 0.2, 3: 0.5, 4: -0.6},
    {4: 1.3},
    {2: 0.0, 3: 1.0},
]


@pytest.fixture(scope="module", params=["sd", "sd2", "xl"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    """A copy of its own: what is left in the shared one would reach other tests."""
    name = "tiny_model" if request.param == "sd" else f"tiny_{request.param}_model"
    return load_model(request.getfixturevalue(name).info.source, device="cpu")


@pytest.fixture(scope="module")
def paths(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """By slot. Ranks 4, 8, 20, and one that differs from layer to layer."""
    folder = tmp_path_factory.mktemp("loras")
    unet = model.unet

    def by_layer(name: str) -> int:
        return 3 if "attn" in name else 7

    wanted = {1: attention_only, 2: linear_only, 3: all_layers, 4: all_layers}
    ranks: dict[int, int | Callable[[str], int]] = {1: 4, 2: 8, 3: 20, 4: by_layer}
    layers = {slot: random_layers(unet, seed=slot, rank=ranks[slot], wanted=wanted[slot]) for slot in wanted}
    tensors = {slot: peft_style(layers[slot]) for slot in layers}
    if "xl" not in model.info.family:  # kohya names SDXL's modules by the layout of Stability's own code
        tensors[1] = kohya_style(layers[1], alpha=2.0)
    return {slot: write(folder / f"{slot}.safetensors", tensors[slot]) for slot in tensors}


@pytest.fixture(scope="module")
def files(model: LoadedModel, paths: dict[int, Path]) -> dict[int, LoraFile]:
    read = {slot: read_concept(path, model) for slot, path in paths.items()}
    return {slot: file for slot, file in read.items() if isinstance(file, LoraFile)}


@pytest.fixture(scope="module")
def expected(model: LoadedModel, paths: dict[int, Path]) -> Callable[[int, Row], torch.Tensor]:
    """What diffusers makes of one row alone, with the adapters of that row alone."""
    kind: Any = StableDiffusionXLPipeline if "xl" in model.info.family else StableDiffusionPipeline
    pipeline = kind.from_pretrained(model.info.source, use_safetensors=True)
    pipeline.to(torch.float32)
    for slot, path in paths.items():
        pipeline.load_lora_weights(str(path), adapter_name=f"slot{slot}")
    before = pipeline.unet

    @torch.no_grad()
    def of_row(row: int, uses: Row) -> torch.Tensor:
        if uses:
            pipeline.set_adapters([f"slot{slot}" for slot in uses], list(uses.values()))
            before.enable_lora()
        else:
            before.disable_lora()
        return before(**inputs(model, [row])).sample[0]

    return of_row


@pytest.fixture
def slots(model: LoadedModel, files: dict[int, LoraFile]) -> Iterator[LoraSlots]:
    slots = LoraSlots(model.unet, 8)
    for slot, file in files.items():
        slots.put(slot, file)
    yield slots
    slots.route(None, None)


def inputs(model: LoadedModel, rows: Sequence[int]) -> dict[str, Any]:
    """The same numbers for the same row, whoever else is there."""
    config = model.unet_config

    def noise(*shape: int) -> torch.Tensor:
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(50 + row)) for row in rows])

    given: dict[str, Any] = {
        "sample": noise(4, 8, 8),
        "timestep": torch.tensor([37 + 100 * row for row in rows]),
        "encoder_hidden_states": noise(16, config.cross_attention_dim),
    }
    if config.addition_embed_type is not None:
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        given["added_cond_kwargs"] = {"text_embeds": noise(pooled), "time_ids": noise(6) * 100}
    return given


def routing(uses: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    index, weights = torch.zeros(len(uses), 4, dtype=torch.long), torch.zeros(len(uses), 4)
    for row, of_row in enumerate(uses):
        for position, (slot, weight) in enumerate(of_row.items()):
            index[row, position], weights[row, position] = slot, weight
    return index, weights


@torch.no_grad()
def run(model: LoadedModel, slots: LoraSlots, uses: Sequence[Row], rows: Sequence[int] | None = None) -> torch.Tensor:
    slots.route(*routing(uses))
    return model.unet(**inputs(model, rows or range(len(uses)))).sample


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-5


def test_every_row_is_as_with_its_adapters_alone(
    model: LoadedModel, slots: LoraSlots, expected: Callable[[int, Row], torch.Tensor]
) -> None:
    together = run(model, slots, ROWS)
    for row, uses in enumerate(ROWS):
        assert_close(together[row], expected(row, {slot: weight for slot, weight in uses.items() if weight}))
        if uses:
            assert float((together[row] - expected(row, {})).abs().max()) > 1e-3


def test_row_by_row_is_the_same(
    model: LoadedModel, slots: LoraSlots, files: dict[int, LoraFile], expected: Callable[[int, Row], torch.Tensor]
) -> None:
    reproducible = LoraSlots(model.unet, 8, reproducible=True)
    for slot, file in files.items():
        reproducible.put(slot, file)
    together = run(model, reproducible, ROWS)
    assert reproducible.graph_key is None
    for row, uses in enumerate(ROWS):
        assert_close(together[row], expected(row, {slot: weight for slot, weight in uses.items() if weight}))
    # Slots are of the rows they are routed to, whoever the neighbours are, to the last bit.
    for neighbours in ([{}] * 7, [{4: 1.0, 3: 1.0}] * 7, [{1: 0.5}, {3: 1.0}, {}, {}, {2: 1.0}, {1: 1.0}, {}]):
        for row in (1, 3, 4):
            uses = [*neighbours[:row], ROWS[row], *neighbours[row + 1 :]]
            assert torch.equal(run(model, reproducible, uses)[row], together[row])


def test_rows_without_are_unchanged(model: LoadedModel, slots: LoraSlots) -> None:
    plain = run(model, slots, [{}] * 4)
    assert slots.graph_key == ()
    mixed = run(model, slots, [{}, {3: 1.0}, {}, {4: 0.4, 1: 1.0}])
    assert torch.equal(mixed[[0, 2]], plain[[0, 2]])
    slots.route(None, None)
    with torch.no_grad():
        assert torch.equal(model.unet(**inputs(model, range(4))).sample, plain)


def test_neighbours_of_the_same_rank_change_nothing(model: LoadedModel, slots: LoraSlots) -> None:
    """What the sums depend on is the largest number of ranks in the batch."""
    first = run(model, slots, [{3: 1.0}, {1: 1.0}, {}, {2: 0.3}])
    second = run(model, slots, [{3: 1.0}, {3: -1.0}, {2: 1.0}, {}], rows=[0, 7, 8, 9])
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, 1), (3, 2, 1), (3, 2, 0), (5, 1, 1), ((3, 1), 1, 0), (1, 2, 0), (1, 1, 0)],
)
def test_convolutions_of_any_kind(kernel: Any, stride: int, padding: int) -> None:
    """Against the same convolution with the change in its weight; on NCHW and channels_last."""
    generator = torch.Generator().manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(5, 6, kernel, stride, padding)).requires_grad_(False)
    down, up = random_layers(network, seed=2, rank=3, size=1.0)["0"]
    merged = copy.deepcopy(network)
    merged[0].weight += (0.5 * up.flatten(1) @ down.flatten(1)).view_as(merged[0].weight)
    slots = LoraSlots(network, 4)
    slots.put(1, LoraFile("", {"0": LoraLayer(down, up, 0.5)}, (), 3))
    slots.route(*routing([{1: 1.0}, {}]))
    x = torch.randn(2, 5, 7, 9, generator=generator)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network.to(memory_format=memory_format)
        given = x.contiguous(memory_format=memory_format)
        assert_close(network(given)[0], merged(x)[0])
        assert_close(network(given)[1], copy.deepcopy(network)(x)[1])


def test_padding_rows_are_plain(model: LoadedModel, slots: LoraSlots) -> None:
    """A forward may have more rows than the routing, and the routing more than the forward's bucket."""
    plain = run(model, slots, [{}] * 4)
    slots.route(*routing([{3: 1.0}]))
    with torch.no_grad():
        padded = model.unet(**inputs(model, range(4))).sample
    assert torch.equal(padded[1:], plain[1:])
    assert_close(padded[:1], run(model, slots, [{3: 1.0}]))
    run(model, slots, [{3: 1.0}, {}, {}])
    three = slots.graph_key
    run(model, slots, [{3: 1.0}, {}, {}, {}])
    assert slots.graph_key == three


def test_a_slot_is_filled_again(model: LoadedModel, files: dict[int, LoraFile]) -> None:
    """Other ranks, other layers, a gap in between: what was there is gone."""
    slots = LoraSlots(model.unet, 8)
    for slot, file in files.items():
        slots.put(slot, file)
    before = run(model, slots, [{1: 1.0}, {2: 1.0}, {3: 1.0}, {4: 1.0}])
    slots.clear(2)
    with pytest.raises(ValueError, match="slot 2 is empty"):
        run(model, slots, [{2: 1.0}])
    for slot, file in ((2, 3), (3, 1), (1, 2)):
        slots.put(slot, files[file])
    assert_close(run(model, slots, [{3: 1.0}, {1: 1.0}, {2: 1.0}, {4: 1.0}]), before)
    with pytest.raises(ValueError, match="from 1 to 8, not 9"):
        slots.put(9, files[1])


def test_many_ranks_go_row_by_row(model: LoadedModel, slots: LoraSlots, monkeypatch: pytest.MonkeyPatch) -> None:
    batched = run(model, slots, ROWS)
    monkeypatch.setattr(slots, "_gathered_bytes", 0)
    slots.clear(8)
    assert_close(run(model, slots, ROWS), batched)
    assert slots.graph_key is None


def test_the_network_stays_what_it_was(model: LoadedModel, slots: LoraSlots) -> None:
    """Same names and parameters; a deep copy, as a merged lane makes one, is plain and takes no routing along."""
    plain = run(model, slots, [{}, {}])
    run(model, slots, [{3: 1.0}, {3: 1.0}])
    copied = copy.deepcopy(model.unet)
    assert {torch.nn.Linear, torch.nn.Conv2d} <= {type(module) for module in copied.modules()}
    assert not [module for module in copied.modules() if "row_loras" in vars(module)]
    assert copied.state_dict().keys() == model.unet.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(copied(**inputs(model, range(2))).sample, plain)


def test_another_engine_on_the_same_model(model: LoadedModel, slots: LoraSlots) -> None:
    plain = run(model, slots, [{}, {}])
    other = LoraSlots(model.unet, 4)
    run(model, slots, [{3: 1.0}, {3: 1.0}])
    assert torch.equal(run(model, other, [{}, {}]), plain)


@pytest.mark.soak
def test_it_compiles_once_for_all_files(tiny_v_model: LoadedModel) -> None:
    """No graph break, and none compiled again when files, weights or rows change their places."""
    model = load_model(tiny_v_model.info.source, device="cpu")
    unet = model.unet
    slots = LoraSlots(unet, 4)
    lora = cache(lambda seed: LoraFile(str(seed), _as_layers(unet, seed), (), 4))
    slots.put(1, lora(1))
    compiled = 0

    def count(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    network = torch.compile(unet, backend=count, fullgraph=True, dynamic=False)

    @torch.no_grad()
    def both(uses: Sequence[Row]) -> None:
        slots.route(*routing(uses))
        given = inputs(model, range(2))
        given["sample"] = given["sample"].repeat(1, 1, 2, 2)
        assert_close(network(**given).sample, unet(**given).sample)

    both([{1: 1.0}, {}])
    first = slots.graph_key
    for slot in (2, 3, 4):
        slots.put(slot, lora(slot))
    for uses in ([{}, {1: 0.5}], [{2: 1.0}, {4: 1.0}], [{3: 1.0}, {3: -1.0}], [{1: 1.0, 2: 1.0}, {}]):
        both(uses)
        assert slots.graph_key == first
    assert compiled == 1
    both([{}, {}])
    assert compiled == 2


def _as_layers(unet: Any, seed: int) -> dict[str, LoraLayer]:
    layers = random_layers(unet, seed=seed, rank=4, wanted=all_layers)
    return {name: LoraLayer(down, up, 0.5) for name, (down, up) in layers.items()}
