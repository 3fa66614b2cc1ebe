"""Concepts of many requests in one engine, against the stock pipelines with the same files loaded one by one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.engine import Engine
from generation.events import Failed, Finished, ImageReady, Progress
from generation.model import LoadedModel
from generation.request import ConceptUse, ImageRequest
from tests.generation.concepts.writing import (
    attention_only,
    kohya_style,
    linear_only,
    peft_style,
    random_layers,
    write,
)
from tests.generation.stock import PIPELINES, Evaluations, assert_same, stock, theirs, together

SEED = 77
pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")  # of the reference


def request(**changes: object) -> ImageRequest:
    usual = {"prompt": "a red apple", "negative_prompt": "car", "seed": SEED, "num_inference_steps": 4}
    return ImageRequest(**{**usual, **changes})


def use(name: str, path: Path, weight: float = 1.0, trigger: str = "") -> ConceptUse:
    return ConceptUse(name=name, path=str(path), weight=weight, trigger=trigger)


def inversion(path: Path, model: LoadedModel, seed: int, vectors: int) -> Path:
    """As `load_textual_inversion` reads it: one tensor by its token; with two encoders by the encoders' names."""
    generator = torch.Generator().manual_seed(seed)
    widths = [encoder.config.hidden_size for encoder in model.text_encoders]
    tensors = [torch.randn(vectors, width, generator=generator) for width in widths]
    names = ["<thing>"] if len(widths) == 1 else ["clip_l", "clip_g"]
    return write(path, dict(zip(names, tensors, strict=True)))


@pytest.fixture(scope="module", params=["tiny_model", "tiny_xl_model"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return request.getfixturevalue(request.param)


once = pytest.mark.parametrize(
    "model", ["tiny_model", pytest.param("tiny_xl_model", marks=pytest.mark.soak)], indirect=True
)
"""For what hangs on the engine, not on the family."""


@pytest.fixture(scope="module")
def files(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("concepts")
    unet, text = model.unet, model.text_encoders

    def layers(seed: int, rank: int, wanted: Any) -> tuple[Any, ...]:
        return tuple(
            random_layers(net, seed=seed + k, rank=rank, wanted=wanted) for k, net in enumerate((unet, *text))
        )

    # All but the size conditioning's: diffusers 0.42 passes over them under kohya's names.
    everything = layers(10, 4, lambda name, _: "add_embedding" not in name)
    return {
        "attention": write(folder / "attention.safetensors", peft_style(layers(1, 2, attention_only)[0])),
        "linear": write(folder / "linear.safetensors", peft_style(*layers(4, 3, linear_only))),
        "everything": write(folder / "everything.safetensors", kohya_style(*everything, alpha=2.0)),
        "wide": write(folder / "wide.safetensors", peft_style(layers(7, 12, attention_only)[0])),
        "fifth": write(folder / "fifth.safetensors", peft_style(layers(20, 2, attention_only)[0])),
        "thing": inversion(folder / "thing.safetensors", model, 30, 3),
        "other": inversion(folder / "other.safetensors", model, 31, 1),
    }


def stock_latents(model: LoadedModel, asked: ImageRequest, prompt: str | None = None) -> torch.Tensor:
    """A pipeline of its own for every request, so that nothing of another one's files is left in it."""
    kind = PIPELINES[model.info.family, asked.init_image is not None]
    options = {} if "XL" in kind.__name__ else {"requires_safety_checker": False}
    pipeline = kind.from_pretrained(model.info.source, use_safetensors=True, **options)
    pipeline.set_progress_bar_config(disable=True)
    if asked.scheduler is not None:
        pipeline.scheduler = stock(kind, Path(model.info.source), asked.scheduler).scheduler
    loras = {}
    for concept in asked.concepts:
        tensors = Path(concept.path).name
        if tensors in ("thing.safetensors", "other.safetensors"):
            load_inversion(pipeline, concept)
        else:
            pipeline.load_lora_weights(concept.path, adapter_name=concept.name)
            loras[concept.name] = concept.weight
    if loras:
        pipeline.set_adapters(list(loras), list(loras.values()))
    return theirs(pipeline, asked, prompt=None if prompt is None else [prompt])[0]


def load_inversion(pipeline: Any, concept: ConceptUse) -> None:
    from safetensors.torch import load_file

    tensors = load_file(concept.path)
    token = f"<{concept.name}>"
    if len(tensors) == 1:
        pipeline.load_textual_inversion({token: next(iter(tensors.values()))}, token=token)
        return
    for part, suffix in (("clip_l", ""), ("clip_g", "_2")):
        encoder, tokenizer = getattr(pipeline, f"text_encoder{suffix}"), getattr(pipeline, f"tokenizer{suffix}")
        pipeline.load_textual_inversion(
            {token: tensors[part]}, token=token, text_encoder=encoder, tokenizer=tokenizer
        )


def requests_with(files: dict[str, Path]) -> dict[str, ImageRequest]:
    return {
        "plain": request(scheduler="ddim"),
        "inversion": request(prompt="a red <thing> on the left", concepts=[use("thing", files["thing"])]),
        "two inversions": request(
            prompt="<other> and <thing>", concepts=[use("thing", files["thing"]), use("other", files["other"])]
        ),
        "attention": request(concepts=[use("a", files["attention"], 0.7)], scheduler="euler_a", count=2),
        "everything": request(concepts=[use("b", files["everything"], -0.5)], guidance_scale=1.0),
        "four": request(
            concepts=[
                use("a", files["attention"], 0.5),
                use("b", files["everything"], 0.4),
                use("c", files["linear"], 0.6),
                use("d", files["wide"], -0.3),
            ],
            scheduler="dpmpp_2m",
        ),
        "mixed kinds": request(
            prompt="the <thing>", concepts=[use("thing", files["thing"]), use("c", files["linear"], 0.8)]
        ),
        "none again": request(seed=SEED + 5, scheduler="heun"),
    }


@once
def test_everybody_with_concepts_of_their_own_in_one_batch(model: LoadedModel, files: dict[str, Path]) -> None:
    requests = {key: one.with_defaults(model.info.defaults) for key, one in requests_with(files).items()}
    with Evaluations(model.unet) as evaluations:
        latents, _ = together(model, requests)
    assert max(evaluations.rows) == 2 * 8 + 1  # nine pictures, of which one has no guidance
    for key, asked in requests.items():
        assert_same(latents[key], stock_latents(model, asked))


def test_concepts_matter(model: LoadedModel, files: dict[str, Path]) -> None:
    """Or the comparison above would compare nothing."""
    requests = {key: one.with_defaults(model.info.defaults) for key, one in requests_with(files).items()}
    without = {k: ImageRequest(**{**_fields(r), "concepts": []}) for k, r in requests.items() if r.concepts}
    latents, _ = together(model, {key: requests[key] for key in without})
    plain, _ = together(model, without)
    for key, ours in latents.items():
        assert float((ours - plain[key]).abs().max() / ours.abs().max()) > 1e-2


def _fields(asked: ImageRequest) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in asked.__struct_fields__}


@once
def test_a_fifth_lora_is_drawn_in_a_lane_of_its_own(model: LoadedModel, files: dict[str, Path]) -> None:
    names = ("attention", "everything", "linear", "wide", "fifth")
    five = [use(name, files[name], 0.3) for name in names]
    requests = {"five": request(concepts=five), "plain": request(), "one": request(concepts=five[:1])}
    requests = {key: one.with_defaults(model.info.defaults) for key, one in requests.items()}
    with Evaluations(model.unet) as evaluations:
        latents, _ = together(model, requests)
    assert evaluations.rows == [4] * 4  # the merged copy is another network
    for key, asked in requests.items():
        assert_same(latents[key], stock_latents(model, asked))


def test_a_trigger_is_read_where_the_name_is_written(model: LoadedModel, files: dict[str, Path]) -> None:
    asked = request(prompt="a <a> on the left", concepts=[use("a", files["attention"], trigger="blue house")])
    asked = asked.with_defaults(model.info.defaults)
    latents, _ = together(model, {"a": asked})
    assert_same(latents["a"], stock_latents(model, asked, "a blue house on the left"))


@once
def test_the_recipe_names_the_concepts(model: LoadedModel, files: dict[str, Path]) -> None:
    engine = Engine(model)
    engine.admit("a", request(concepts=[use("a", files["attention"], 0.7)]))
    events = [event for _ in range(1000) if engine.busy for event in engine.step()]
    engine.close()
    (ready,) = [event for event in events if isinstance(event, ImageReady)]
    (used,) = ready.recipe.concepts
    assert (used.name, used.weight, len(used.sha256)) == ("a", 0.7, 64)


@once
def test_a_concept_that_is_refused_fails_its_request_alone(
    model: LoadedModel, files: dict[str, Path], tmp_path: Path
) -> None:
    pickle = tmp_path / "cat.pt"
    pickle.write_bytes(b"\x80\x04.")
    engine = Engine(model)
    engine.admit("bad", request(concepts=[use("cat", pickle)]))
    engine.admit("gone", request(concepts=[use("cat", tmp_path / "gone.safetensors")]))
    engine.admit("good", request(concepts=[use("a", files["attention"])]))
    events = []
    while engine.busy:
        events += engine.step()
    engine.close()
    failed = {event.request_id: event.reason for event in events if isinstance(event, Failed)}
    assert set(failed) == {"bad", "gone"}
    assert "cat.pt" in failed["bad"]
    assert all(str(tmp_path) not in reason for reason in failed.values())
    assert [event.request_id for event in events if isinstance(event, Finished)] == ["good"]


@once
def test_more_concepts_than_slots_wait_for_each_other(model: LoadedModel, files: dict[str, Path]) -> None:
    """Sixteen slots and twenty different weights' files: nobody fails, nobody waits for ever."""
    copies = []
    for index in range(20):
        path = files["attention"].with_name(f"copy {index}.safetensors")
        layers = random_layers(model.unet, seed=index, rank=1, wanted=attention_only)
        copies.append(write(path, peft_style(layers)))
    requests = {f"r{k}": request(concepts=[use("x", path)], num_inference_steps=2) for k, path in enumerate(copies)}
    requests["four"] = request(concepts=[use(f"x{k}", path) for k, path in enumerate(copies[:4])])
    requests = {key: one.with_defaults(model.info.defaults) for key, one in requests.items()}
    latents, _ = together(model, requests)
    for key in ("r0", "r19", "four"):
        assert_same(latents[key], stock_latents(model, requests[key]))


def test_nobody_overtakes_a_request_that_waits_for_slots(tiny_model: LoadedModel, tmp_path: Path) -> None:
    """All sixteen slots are taken, and get free one by one. Whoever needs four would never see four together."""
    paths = []
    for index in range(28):
        layers = random_layers(tiny_model.unet, seed=index, rank=1, wanted=attention_only)
        paths.append(write(tmp_path / f"{index}.safetensors", peft_style(layers)))
    engine = Engine(tiny_model)
    for k in range(16):
        engine.admit(f"early {k}", request(concepts=[use("x", paths[k])], num_inference_steps=4 + k))
    while not all(ticket.ready() for ticket in engine._between._tickets.values()):
        time.sleep(0.001)
    started: list[str] = []
    steps = 0
    while engine.busy:
        started += [e.request_id for e in engine.step() if isinstance(e, Progress) and e.step == 0]
        steps += 1
        if steps == 17:
            engine.admit("four", request(concepts=[use(f"x{k}", paths[16 + k]) for k in range(4)]))
            for k in range(8):
                engine.admit(f"late {k}", request(concepts=[use("x", paths[20 + k])], num_inference_steps=3))
            while not all(ticket.ready() for ticket in engine._between._tickets.values()):
                time.sleep(0.001)
    engine.close()
    assert len(started) == 16 + 1 + 8
    assert started[16] == "four"


@pytest.mark.parametrize("name", ["everything", "linear", "thing"])
def test_reproducible_with_a_concept(model: LoadedModel, files: dict[str, Path], name: str) -> None:
    asked = request(prompt="a <x> apple", concepts=[use("x", files[name])]).with_defaults(model.info.defaults)
    company = {key: one.with_defaults(model.info.defaults) for key, one in requests_with(files).items()}
    alone, _ = together(model, {"asked": asked}, reproducible=True)
    crowd, _ = together(model, {**company, "asked": asked}, reproducible=True)
    assert torch.equal(alone["asked"], crowd["asked"])


@once
def test_waiting_for_a_lane_holds_nobody_back_who_needs_only_slots(
    model: LoadedModel, files: dict[str, Path]
) -> None:
    """One merged copy at a time: the second request of five waits for the first; the one with a slot doesn't."""
    names = ("attention", "everything", "linear", "wide", "fifth")
    engine = Engine(model)
    for key, weight in (("first", 0.3), ("second", 0.2)):
        concepts = [use(name, files[name], weight) for name in names]
        engine.admit(key, request(concepts=concepts, num_inference_steps=30))
    engine.admit("slot", request(concepts=[use("a", files["attention"])], num_inference_steps=2))
    ended: list[str] = []
    while engine.busy:
        ended += [event.request_id for event in engine.step() if isinstance(event, Finished)]
    engine.close()
    assert ended == ["slot", "first", "second"]


@once
def test_a_fault_while_reading_strikes_its_request_once(
    model: LoadedModel, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(model)
    engine.admit("a", request(concepts=[use("a", files["attention"])]))
    engine.admit("b", request())
    monkeypatch.setattr(engine._concepts, "_place", lambda _: 1 / 0)

    def draw() -> None:
        while engine.busy:
            engine.step()

    with pytest.raises(ZeroDivisionError):
        draw()
    ended = [e.request_id for _ in range(500) if engine.busy for e in engine.step() if isinstance(e, Finished)]
    engine.close()
    assert ended == ["b"]
