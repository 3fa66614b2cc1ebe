"""The engine from outside: one unit of work a step, cancelling, failing, looking in between."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generation.engine import Engine
from generation.events import Cancelled, Event, Failed, Finished, ImageReady, Progress
from generation.generate import Drawn, GenerationFailed, generate
from generation.model import LoadedModel, load_model
from generation.request import ImageRequest, InvalidRequest


def request(**changes: object) -> ImageRequest:
    return ImageRequest(**{"prompt": "a red apple", "seed": 5, "num_inference_steps": 4, **changes})


def run(engine: Engine) -> list[list[Event]]:
    steps: list[list[Event]] = []
    while engine.busy:
        steps.append(engine.step())
    return steps


def test_one_unit_of_work_a_step(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    assert not engine.busy
    assert engine.step() == []
    engine.admit("one", request(count=2))
    steps = run(engine)
    kinds = [[type(event) for event in events] for events in steps]
    assert kinds == [[Progress]] * 5 + [[ImageReady], [ImageReady, Finished]]
    progress = [event for events in steps for event in events if isinstance(event, Progress)]
    assert [(event.step, event.total_steps) for event in progress] == [(done, 4) for done in range(5)]


@pytest.mark.parametrize(
    ("scheduler", "strength", "steps"),
    [("ddim", None, 4), ("dpm2", None, 7), ("ddim", 0.5, 2), ("dpmpp_sde", None, 4)],  # DPM2 does 2n − 1
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' DPM2 with numpy 2
def test_the_number_of_steps_can_be_asked_before(
    tiny_model: LoadedModel, tmp_path: Path, scheduler: str, strength: float | None, steps: int
) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "teal").save(start)
    init_image = None if strength is None else str(start)
    asked = request(scheduler=scheduler, init_image=init_image, strength=strength)
    engine = Engine(tiny_model)
    assert engine.total_steps(asked) == steps
    assert not engine.busy
    engine.admit("one", asked)
    said = [event for events in run(engine) for event in events if isinstance(event, Progress)]
    assert said[-1].total_steps == said[-1].step == steps
    with pytest.raises(InvalidRequest):
        engine.total_steps(request(width=2048, height=2048))


def test_network_and_decoder_run_once_a_step(tiny_model: LoadedModel) -> None:
    """Nobody waits for more than one evaluation or one picture's decode."""
    calls: list[str] = []
    handles = [
        tiny_model.unet.register_forward_pre_hook(lambda *_: calls.append("unet")),
        tiny_model.vae.decoder.register_forward_pre_hook(lambda _, inputs: calls.append(f"decode {len(inputs[0])}")),
    ]
    engine = Engine(tiny_model)
    engine.admit("one", request(count=3))
    while engine.busy:
        before = len(calls)
        engine.step()
        assert len(calls) - before <= 1
    for handle in handles:
        handle.remove()
    assert calls == ["unet"] * 4 + ["decode 1"] * 3


def test_guidance_off_takes_one_row(tiny_model: LoadedModel) -> None:
    rows: list[int] = []
    handle = tiny_model.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    generate(tiny_model, request(guidance_scale=1))
    generate(tiny_model, request(guidance_scale=1.01))
    handle.remove()
    assert rows == [1] * 4 + [2] * 4


def test_equal_requests_end_in_the_order_of_admission(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    for name in ("a", "b"):
        engine.admit(name, request())
    finished = [event for events in run(engine) for event in events if isinstance(event, Finished)]
    assert finished == [Finished("a"), Finished("b")]


def test_an_id_is_taken_once(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("a", request())
    with pytest.raises(ValueError, match="already"):
        engine.admit("a", request())


def test_a_size_that_the_model_cannot_draw_is_refused_on_admission(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    with pytest.raises(InvalidRequest, match="width must be a multiple of 16"):
        engine.admit("a", request(width=72))
    assert not engine.busy
    engine.admit("a", request())


def test_every_size_that_is_admitted_can_be_drawn(tiny_model: LoadedModel, tiny_v_model: LoadedModel) -> None:
    for model in (tiny_model, tiny_v_model):
        multiple = model.info.defaults.size_multiple
        for width in range(64, 64 + 4 * multiple, multiple):
            (drawn,) = generate(model, request(width=width, height=64, num_inference_steps=1))
            assert drawn.image.size == (width, 64)


def test_picture_k_is_drawn_with_seed_plus_k(tiny_model: LoadedModel) -> None:
    together = generate(tiny_model, request(count=3))
    alone = [generate(tiny_model, request(seed=5 + index))[0] for index in range(3)]
    assert [drawn.recipe.seed for drawn in together] == [5, 6, 7]
    for mine, other in zip(together, alone, strict=True):
        difference = np.abs(np.asarray(mine.image, dtype=int) - np.asarray(other.image, dtype=int))
        assert difference.max() <= 2
    assert together[0].image.tobytes() != together[1].image.tobytes()


def test_the_same_request_gives_the_same_bytes(tiny_model: LoadedModel) -> None:
    first, second = (generate(tiny_model, request(scheduler="euler_a", count=2)) for _ in range(2))
    assert [drawn.image.tobytes() for drawn in first] == [drawn.image.tobytes() for drawn in second]


def test_the_global_random_state_is_neither_used_nor_moved(tiny_model: LoadedModel) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = generate(tiny_model, request(scheduler="euler_a"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert generate(tiny_model, request(scheduler="euler_a"))[0].image.tobytes() == first[0].image.tobytes()


def test_cancelling_takes_effect_at_the_next_step(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("a", request(num_inference_steps=50))
    engine.admit("b", request(num_inference_steps=1))
    engine.step()
    engine.step()
    assert engine.cancel("a")
    assert not engine.cancel("a")
    assert not engine.cancel("nobody")
    assert engine.step() == [Cancelled("a")]
    assert engine.preview("a") is None
    rest = [event for events in run(engine) for event in events]
    assert {event.request_id for event in rest} == {"b"}


def test_cancelling_one_that_waits(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("a", request())
    engine.admit("b", request())
    assert engine.cancel("b")
    assert engine.step() == [Cancelled("b")]
    assert run(engine)[-1][-1] == Finished("a")


def test_an_id_is_free_again_after_cancelling(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("a", request())
    engine.cancel("a")
    engine.step()
    engine.admit("a", request())
    assert run(engine)[-1][-1] == Finished("a")


def test_a_preview_is_never_of_an_earlier_request(tiny_v_model: LoadedModel) -> None:
    engine = Engine(tiny_v_model)
    previews: list[bytes] = []
    for seed in (1, 2):
        engine.admit("a", request(seed=seed))
        engine.step()
        engine.step()
        preview = engine.preview("a")
        assert preview is not None
        previews.append(preview.tobytes())
        engine.cancel("a")
        engine.step()
    assert previews[0] != previews[1]


def test_numbers_out_of_range_fail_and_nothing_black_comes_out(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("bad", request())
    engine.step()
    poison = tiny_model.unet.register_forward_hook(lambda _m, _i, output: (output[0] * torch.nan,))
    engine.step()
    poison.remove()
    engine.admit("good", request())
    assert engine.preview("bad") is not None  # still a picture, never an exception
    events = [event for events in run(engine) for event in events]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.request_id == "bad"
    assert "out of range" in failed.reason
    assert [event.request_id for event in events if isinstance(event, ImageReady)] == ["good"]


def test_a_decoder_that_overflows_fails_too(tiny_model: LoadedModel) -> None:
    poison = tiny_model.vae.decoder.register_forward_hook(lambda _m, _i, output: output * torch.inf)
    with pytest.raises(GenerationFailed, match="out of range"):
        generate(tiny_model, request())
    poison.remove()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17 GB, other allocations: 1 GB)"),
    ],
    ids=["cuda", "cpu", "mps"],
)
def test_out_of_memory_is_one_sentence_and_the_next_request_is_drawn(
    tiny_model: LoadedModel, error: RuntimeError
) -> None:
    def no_memory(*_: object) -> None:
        raise error

    engine = Engine(tiny_model)
    engine.admit("a", request())
    engine.step()
    handle = tiny_model.unet.register_forward_pre_hook(no_memory)
    (failed,) = engine.step()
    handle.remove()
    engine.admit("b", request())
    assert isinstance(failed, Failed)
    assert failed.reason == "This needs more memory than there is; ask for fewer or smaller pictures."
    assert run(engine)[-1][-1] == Finished("b")


def test_memory_that_really_runs_out_on_a_cpu(tiny_model: LoadedModel) -> None:
    handle = tiny_model.unet.register_forward_pre_hook(lambda *_: torch.empty(2**60))
    with pytest.raises(GenerationFailed, match="needs more memory than there is"):
        generate(tiny_model, request())
    handle.remove()


@pytest.mark.parametrize("fault", [KeyError, RuntimeError])
def test_a_fault_of_the_program_is_raised_once(tiny_model: LoadedModel, fault: type[Exception]) -> None:
    def broken(*_: object) -> None:
        raise fault("oops")

    engine = Engine(tiny_model)
    engine.admit("a", request())
    engine.step()
    handle = tiny_model.unet.register_forward_pre_hook(broken)
    with pytest.raises(fault, match="oops"):
        engine.step()
    handle.remove()
    engine.admit("b", request())
    assert run(engine)[-1][-1] == Finished("b")


def test_a_start_image_that_is_gone_or_broken(tiny_model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="The start image's file is gone") as caught:
        generate(tiny_model, request(init_image=str(tmp_path / "gone.png"), strength=0.5))
    assert str(tmp_path) not in str(caught.value)
    words = tmp_path / "words.png"
    words.write_text("words")
    with pytest.raises(GenerationFailed, match="not a PNG"):
        generate(tiny_model, request(init_image=str(words), strength=0.5))


def drawn_from(model: LoadedModel, image: Path, **changes: object) -> Drawn:
    return generate(model, request(init_image=str(image), **changes))[0]


def test_a_start_image_of_another_shape_is_cut_to_cover(tiny_v_model: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.new("RGB", (300, 90), "orange").save(path)
    drawn = drawn_from(tiny_v_model, path, strength=0.5)
    assert drawn.image.size == (64, 64)
    assert drawn.recipe.strength == 0.5
    assert drawn.recipe.init_image_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_strength_is_the_share_of_steps(tiny_model: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "orange").save(path)
    for strength, expected in ((0.05, 1), (0.5, 10), (1.0, 20)):
        events: list[Event] = []
        asked = request(init_image=str(path), strength=strength, num_inference_steps=20)
        generate(tiny_model, asked, events.append)
        assert isinstance(events[0], Progress)
        assert events[0].total_steps == expected


def test_the_recipe_makes_the_same_picture_again(tiny_model: LoadedModel) -> None:
    drawn = generate(tiny_model, request(prompt=["a big fox", "a car"], scheduler="heun", negative_prompt="red"))[1]
    recipe = drawn.recipe
    again = ImageRequest(
        prompt=recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        guidance_scale=recipe.guidance_scale,
        num_inference_steps=recipe.num_inference_steps,
        seed=recipe.seed,
        width=recipe.width,
        height=recipe.height,
        scheduler=recipe.scheduler,
    )
    difference = np.asarray(drawn.image, dtype=int) - np.asarray(generate(tiny_model, again)[0].image, dtype=int)
    assert np.abs(difference).max() <= 2
    assert recipe.model_hash == tiny_model.info.hash
    assert recipe.prompt == "a car"


def test_the_models_own_scheduler_is_named_in_the_recipe(tiny_model: LoadedModel) -> None:
    assert generate(tiny_model, request())[0].recipe.scheduler == "ddim"


def test_words_that_were_not_read_are_told(tiny_model: LoadedModel) -> None:
    long = request(prompt=["apple " * 14 + "Big HOUSE,  car", "a car"], negative_prompt="red " * 14 + "fox")
    first, second = generate(tiny_model, long)
    assert first.words_not_read == ["Big", "HOUSE,", "car", "fox"]
    assert second.words_not_read == ["fox"]
    unguided = generate(tiny_model, request(negative_prompt="red " * 14 + "fox", guidance_scale=1))
    assert unguided[0].words_not_read == []


def test_preview_sharpens_into_the_picture() -> None:
    """None before the first step, then an estimate that comes nearer, of a model that was taught something."""
    engine = Engine(load_model("bundled", device="cpu"))
    engine.admit("a", request(num_inference_steps=8))
    previews: list[Image.Image] = []
    final: Image.Image | None = None
    assert engine.preview("a") is None
    assert engine.preview("nobody") is None
    while engine.busy:
        final = next((event.image for event in engine.step() if isinstance(event, ImageReady)), final)
        preview = engine.preview("a")
        if preview is not None:
            previews.append(preview)
    assert final is not None
    assert previews[0].size == final.size
    distances = [float(np.abs(np.asarray(p, float) - np.asarray(final, float)).mean()) for p in previews]
    assert distances[-1] < 20  # of 255: a linear map, not the decoder
    assert distances[0] > 2 * distances[-1]


def test_a_preview_is_drawn_once_between_two_steps(tiny_v_model: LoadedModel) -> None:
    engine = Engine(tiny_v_model)
    engine.admit("a", request(count=4))
    engine.step()
    engine.step()
    first = engine.preview("a")
    assert engine.preview("a") is first
    engine.step()
    assert engine.preview("a") is not first
    assert first is not None
    assert first.size == (128, 128)


def test_looking_does_not_change_the_picture(tiny_model: LoadedModel) -> None:
    engine = Engine(tiny_model)
    engine.admit("a", request(scheduler="euler_a"))
    seen = None
    while engine.busy:
        for event in engine.step():
            seen = event.image if isinstance(event, ImageReady) else seen
        engine.preview("a")
    assert seen is not None
    assert seen.tobytes() == generate(tiny_model, request(scheduler="euler_a"))[0].image.tobytes()
