"""Many requests in one engine: who shares a forward, who waits, and that nobody's picture notices the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from generation import batch as batch_module
from generation.batch import Batch
from generation.engine import Engine
from generation.events import Cancelled, Event, Failed, Finished, ImageReady, Progress
from generation.model import LoadedModel
from generation.request import ImageRequest


def request(**changes: object) -> ImageRequest:
    return ImageRequest(**{"prompt": "a red apple", "seed": 5, "num_inference_steps": 4, **changes})


def run(engine: Engine) -> list[Event]:
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
    return events


@contextmanager
def forwards(model: LoadedModel) -> Iterator[list[tuple[int, ...]]]:
    """The shape of every sample that the UNet gets."""
    shapes: list[tuple[int, ...]] = []
    handle = model.unet.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    try:
        yield shapes
    finally:
        handle.remove()


def pictures(events: list[Event]) -> dict[tuple[str, int], Image.Image]:
    return {(e.request_id, e.index): e.image for e in events if isinstance(e, ImageReady)}


def test_one_forward_a_step_for_everybody(tiny_model: LoadedModel) -> None:
    """Three requests of different guidance, samplers and counts: 2·1 + 1 + 2·2 rows, all in four forwards."""
    engine = Engine(tiny_model)
    engine.admit("a", request(scheduler="euler_a", guidance_scale=3.0))
    engine.admit("b", request(scheduler="ddim", guidance_scale=1.0, prompt="blue car"))
    engine.admit("c", request(scheduler="dpmpp_2m", count=2, negative_prompt="fox"))
    with forwards(tiny_model) as shapes:
        events = run(engine)
    assert [shape[0] for shape in shapes] == [7] * 4
    assert len(pictures(events)) == 4


def test_who_comes_later_joins_at_the_next_step(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("a", request(num_inference_steps=6))
    with forwards(tiny_model) as shapes:
        while not shapes:
            engine.step()
        engine.admit("b", request(num_inference_steps=2))
        run(engine)
    assert [shape[0] for shape in shapes] == [2, 4, 4, 2, 2, 2]


def test_whoever_has_fewer_steps_leaves_earlier(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("long", request(num_inference_steps=9))
    engine.admit("short", request(num_inference_steps=2))
    ended = [event.request_id for event in run(engine) if isinstance(event, Finished)]
    assert ended == ["short", "long"]


def test_at_most_one_encode_or_decode_between_two_forwards(tiny_model: LoadedModel, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "orange").save(start)
    calls: list[str] = []
    handles = [
        tiny_model.unet.register_forward_pre_hook(lambda *_: calls.append("unet")),
        tiny_model.vae.decoder.register_forward_pre_hook(lambda _, x: calls.append(f"vae {len(x[0])}")),
        tiny_model.vae.encoder.register_forward_pre_hook(lambda _, x: calls.append(f"vae {len(x[0])}")),
    ]
    engine = Engine(tiny_model)
    engine.admit("first", request(num_inference_steps=30))
    for k in range(4):
        engine.step()
        engine.step()
        engine.admit(f"later {k}", request(num_inference_steps=3, count=2, init_image=str(start), strength=1.0))
    run(engine)
    for handle in handles:
        handle.remove()
    between = "".join("u" if call == "unet" else "v" for call in calls).strip("v")
    assert {call for call in calls if call != "unet"} == {"vae 1"}
    assert "vv" not in between
    assert between.count("v") == 4 * (1 + 2)


def test_the_network_does_not_stand_idle_while_pictures_are_decoded(tiny_model: LoadedModel) -> None:
    """A newcomer is prepared before the decodes that are left, and these go on between its steps."""
    engine = Engine(tiny_model)
    engine.admit("a", request(count=4))
    events: list[Event] = []
    while not any(isinstance(event, ImageReady) for event in events):
        events = engine.step()
    engine.admit("b", request(num_inference_steps=6))
    order = "".join("u" if isinstance(event, Progress) else "v" for event in run(engine))
    assert order.startswith("uuvuvuv")


def test_groups_of_different_sizes_take_turns(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("small", request(num_inference_steps=5))
    engine.admit("wide", request(num_inference_steps=5, width=128))
    with forwards(tiny_model) as shapes:
        run(engine)
    assert [shape[3] for shape in shapes] == [8, 16] * 5


def test_seats_are_limited_and_go_to_whoever_has_fewest(tiny_model: LoadedModel) -> None:
    """Four rows at once: two guided pictures. The one of `b` doesn't wait for all six of `a`."""
    engine = Engine(tiny_model, max_rows=4)
    engine.admit("a", request(count=6))
    engine.admit("b", request())
    with forwards(tiny_model) as shapes:
        events = run(engine)
    assert max(shape[0] for shape in shapes) == 4
    finished = [event.request_id for event in events if isinstance(event, Finished)]
    assert finished == ["b", "a"]
    ready = [event.index for event in events if isinstance(event, ImageReady) and event.request_id == "a"]
    assert sorted(ready) == list(range(6))


def test_progress_of_pictures_that_take_turns_only_grows(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model, max_rows=2)
    engine.admit("a", request(count=3))
    events = run(engine)
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 4


def test_a_guided_picture_fits_into_one_row_at_a_time(tiny_model: LoadedModel) -> None:
    alone = pictures(run_one(Engine(tiny_model)))
    engine = Engine(tiny_model, max_rows=1)
    with forwards(tiny_model) as shapes:
        narrow = pictures(run_one(engine))
    assert {shape[0] for shape in shapes} == {1}
    assert_close(alone["a", 0], narrow["a", 0])


def run_one(engine: Engine, **changes: object) -> list[Event]:
    engine.admit("a", request(**changes))
    return run(engine)


def assert_close(one: Image.Image, other: Image.Image) -> None:
    difference = np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int))
    assert difference.max() <= 2


# ── memory ──


@contextmanager
def memory_for(model: LoadedModel, rows: int) -> Iterator[list[int]]:
    """A card on which a forward of more than `rows` rows does not fit."""
    tried: list[int] = []

    def check(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        tried.append(len(inputs[0]))
        if len(inputs[0]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = model.unet.register_forward_pre_hook(check)
    try:
        yield tried
    finally:
        handle.remove()


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_out_of_memory_makes_the_batch_smaller_and_changes_no_picture(tiny_model: LoadedModel, rows: int) -> None:
    roomy = pictures(run_one(Engine(tiny_model), count=3, scheduler="euler_a"))
    engine = Engine(tiny_model)
    with memory_for(tiny_model, rows) as tried:
        events = run_one(engine, count=3, scheduler="euler_a")
    assert isinstance(events[-1], Finished)
    for key, image in pictures(events).items():
        assert_close(image, roomy[key])
    too_many = [size for size in tried if size > rows]
    assert len(too_many) <= 3  # learnt at the first step, not again at each
    assert [6, 4, 2, 1][: len(too_many)] == too_many


def test_only_who_does_not_fit_at_all_fails(tiny_model: LoadedModel) -> None:
    """A wide picture is too much even alone; the small ones are drawn."""

    def check(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[3] > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    engine = Engine(tiny_model)
    engine.admit("wide", request(width=128))
    engine.admit("small", request())
    handle = tiny_model.unet.register_forward_pre_hook(check)
    events = run(engine)
    handle.remove()
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.request_id == "wide"
    assert failed.reason == "This needs more memory than there is; ask for fewer or smaller pictures."
    assert [event.request_id for event in events if isinstance(event, Finished)] == ["small"]


def test_not_finite_numbers_of_one_do_not_touch_the_others(tiny_model: LoadedModel) -> None:
    alone = pictures(run_one(Engine(tiny_model)))
    engine = Engine(tiny_model)
    engine.admit("a", request())
    engine.admit("bad", request(prompt="blue", guidance_scale=1.0))

    def poison(_: torch.nn.Module, inputs: object, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        del inputs
        if len(output[0]) < 3:
            return output
        spoilt = output[0].clone()
        spoilt[-1] = torch.nan  # the last row: the only one of "bad"
        return (spoilt,)

    handle = tiny_model.unet.register_forward_hook(poison)
    events = run(engine)
    handle.remove()
    assert [event.request_id for event in events if isinstance(event, Failed)] == ["bad"]
    assert_close(pictures(events)["a", 0], alone["a", 0])


# ── reproducible ──

NEIGHBOURS = [
    {"scheduler": "euler_a", "guidance_scale": 1.0, "prompt": "a big house", "seed": 99},
    {"scheduler": "unipc", "guidance_scale": 12.0, "count": 3, "num_inference_steps": 7},
    {"scheduler": "heun", "prompt": "green fox", "num_inference_steps": 2},
]


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpmpp_2m", "pndm"])
def test_reproducible_means_the_same_bytes_whoever_else_is_there(tiny_model: LoadedModel, scheduler: str) -> None:
    engine = Engine(tiny_model, reproducible=True)
    alone = pictures(run_one(engine, scheduler=scheduler, count=2))
    for late in (False, True):
        engine = Engine(tiny_model, reproducible=True)
        for index, neighbour in enumerate(NEIGHBOURS):
            engine.admit(f"n{index}", request(**neighbour))
        for _ in range(3 if late else 0):
            engine.step()
        engine.admit("a", request(scheduler=scheduler, count=2))
        together = pictures(run(engine))
        for key, image in alone.items():
            assert image.tobytes() == together[key].tobytes()


def test_reproducible_forwards_all_have_the_same_rows(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model, reproducible=True)
    engine.admit("a", request(count=5))
    engine.admit("b", request(guidance_scale=1.0))
    with forwards(tiny_model) as shapes:
        run(engine)
    assert {shape[0] for shape in shapes} == {8}


def test_reproducible_keeps_to_its_threads(tiny_model: LoadedModel) -> None:
    before = torch.get_num_threads()
    engine = Engine(tiny_model, reproducible=True, threads=1)
    torch.set_num_threads(2)
    engine.admit("a", request())
    engine.step()
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


# ── whatever comes, in whatever order ──


def stock_evaluations(scheduler: str, steps: int) -> int:
    """What the stock pipelines do for n steps: n evaluations, Heun 2n − 1, PNDM (without Runge-Kutta) n + 1."""
    return {"ddim": steps, "euler_a": steps, "heun": 2 * steps - 1, "pndm": steps + 1}[scheduler]


arrivals = st.lists(
    st.tuples(
        st.integers(0, 25),  # after how many steps
        st.sampled_from(["ddim", "euler_a", "heun", "pndm"]),
        st.integers(2, 6),  # steps
        st.integers(1, 3),  # count
        st.sampled_from([1.0, 7.5]),
        st.sampled_from([64, 64, 80]),  # width
        st.one_of(st.none(), st.none(), st.integers(0, 40)),  # cancelled after how many steps
    ),
    min_size=1,
    max_size=7,
)


@given(mix=arrivals, max_rows=st.sampled_from([1, 2, 4, 32]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_request_ends_exactly_once_with_the_stock_evaluations(
    tiny_model: LoadedModel, mix: list[tuple[int, str, int, int, float, int, int | None]], max_rows: int
) -> None:
    engine = Engine(tiny_model, max_rows=max_rows)
    asked: dict[str, ImageRequest] = {}
    cancels = {f"r{k}": entry[6] for k, entry in enumerate(mix) if entry[6] is not None}
    for k, (_, scheduler, steps, count, guidance, width, _) in enumerate(mix):
        asked[f"r{k}"] = request(
            scheduler=scheduler, num_inference_steps=steps, count=count, guidance_scale=guidance, width=width
        )
    pending = {f"r{k}": entry[0] for k, entry in enumerate(mix)}
    work = {key: stock_evaluations(str(r.scheduler), int(r.num_inference_steps or 0)) for key, r in asked.items()}
    rows = {key: r.count * (2 if r.guidance_scale > 1 else 1) for key, r in asked.items()}
    # Nobody waits for ever: even if nothing were shared, this many units of work would do.
    bound = 25 + sum(rows[key] * work[key] + asked[key].count + 2 for key in asked)
    events: list[Event] = []
    with forwards(tiny_model) as shapes:
        for step in range(bound + 1):
            for key in [key for key, when in pending.items() if when <= step]:
                engine.admit(key, asked[key])
                del pending[key]
            for key in [key for key, when in cancels.items() if when <= step and key not in pending]:
                engine.cancel(key)
                del cancels[key]
            if not pending and not engine.busy:
                break
            events += engine.step()
        else:
            pytest.fail(f"still busy after {bound} steps")
    ends = [event for event in events if isinstance(event, Finished | Cancelled | Failed)]
    assert Counter(event.request_id for event in ends) == dict.fromkeys(asked, 1)
    finished = {event.request_id for event in ends if isinstance(event, Finished)}
    ready = Counter(event.request_id for event in events if isinstance(event, ImageReady))
    for key in finished:
        assert ready[key] == asked[key].count
        said = [e for e in events if isinstance(e, Progress) and e.request_id == key]
        assert said[-1].step == said[-1].total_steps == work[key]
    evaluated = sum(shape[0] for shape in shapes)
    least = sum(rows[key] * work[key] for key in finished)
    most = least + sum(rows[key] * work[key] for key in asked if key not in finished)
    assert least <= evaluated <= most
    if finished == set(asked):
        assert evaluated == least


def test_memory_that_was_short_for_a_moment_is_used_again(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "_STEPS_TO_RECOVER", 3)
    engine = Engine(tiny_model)
    engine.admit("a", request(num_inference_steps=12, count=4))
    with memory_for(tiny_model, 2):
        engine.step()
        engine.step()
    with forwards(tiny_model) as shapes:
        run(engine)
    assert shapes[0][0] == 2
    assert shapes[-1][0] == 8


def test_memory_that_ends_in_the_update_fails_all_whose_noise_is_drawn(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To go on they would need the noise once more: another picture than they asked for."""

    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine = Engine(tiny_model)
    for key in ("a", "b"):
        engine.admit(key, request(scheduler="euler_a"))
    engine.step()
    engine.step()
    with monkeypatch.context() as broken:
        broken.setattr(Batch, "_advance", no_memory)
        events = engine.step()
    assert [(type(event), event.request_id) for event in events] == [(Failed, "a"), (Failed, "b")]
    engine.admit("c", request())
    assert isinstance(run(engine)[-1], Finished)


def test_a_picture_that_cannot_be_decoded_in_one_piece_is_decoded_in_tiles(tiny_model: LoadedModel) -> None:
    """As the stock VAE does it with tiling on, and none of the others' pictures is in tiles afterwards."""
    asked = {"width": 128, "height": 128, "count": 2, "num_inference_steps": 2}
    whole = pictures(run_one(Engine(tiny_model), **asked))
    calls: list[tuple[int, ...]] = []

    def check(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append(tuple(inputs[0].shape[2:]))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = tiny_model.vae.decoder.register_forward_pre_hook(check)
    events = run_one(Engine(tiny_model), **asked)
    handle.remove()
    assert isinstance(events[-1], Finished)
    drawn = pictures(events)
    assert calls[0] == calls[-1] == (16, 16)
    assert len(calls) > 3
    assert max(max(call) for call in calls[1:-1]) < 16
    assert_close(drawn["a", 1], whole["a", 1])
    assert not tiny_model.vae.use_tiling


def test_many_prompts_are_encoded_two_texts_at_a_time(tiny_model: LoadedModel) -> None:
    prompts = [f"a red apple {k}" for k in range(5)]
    engine = Engine(tiny_model)
    engine.admit("waiting", request(num_inference_steps=30))
    engine.step()
    engine.step()
    calls: list[str] = []
    handles = [
        tiny_model.unet.register_forward_pre_hook(lambda *_: calls.append("u")),
        tiny_model.text_encoders[0].register_forward_pre_hook(lambda *_: calls.append("t")),
    ]
    engine.admit("many", request(prompt=prompts, negative_prompt="blue"))
    run(engine)
    for handle in handles:
        handle.remove()
    assert "".join(calls).startswith("ttuttuttu")
