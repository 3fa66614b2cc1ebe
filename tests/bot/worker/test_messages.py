import pytest

from bot.worker import messages
from bot.worker.messages import BadFrame, Message, frame_length, pack, unpack_from_worker, unpack_to_worker
from generation.recipe import Recipe
from generation.request import ImageRequest, ModelDefaults, ModelInfo

RECIPE = Recipe(
    prompt="über <all>", guidance_scale=7.5, num_inference_steps=4, seed=2**53 - 1, width=64, height=64,
    scheduler="ddim", model_name="m", model_hash="0",
)  # fmt: skip
IMAGE = messages.DrawnImage(
    path="/x/1-0.png", seed=1, width=64, height=64, recipe=RECIPE, nsfw=0.5, words_not_read=["a", "b"]
)
MODEL = ModelInfo(
    name="m", source="bundled", family="f", hash="0", defaults=ModelDefaults(), prediction_type="epsilon",
    parameters=5, scheduler="ddim",
)  # fmt: skip
TO_WORKER: list[Message] = [
    messages.Load(model="a/b", device="cuda:1"),
    messages.Draw(job="j", attempt=2, request=ImageRequest(prompt=["a", "b"], seed=3), output_dir="/x"),
    messages.Draw(
        job="j", attempt=1, request=ImageRequest(prompt="", seed=3, init_image="/x/start.png"), output_dir="/x",
        redraw=ImageRequest(prompt="a", seed=9), resample=RECIPE,
    ),
    messages.Cancel(job="j"),
    messages.Shutdown(),
]  # fmt: skip
FROM_WORKER: list[Message] = [
    messages.Loading(text="downloading", fraction=0.5),
    messages.Ready(model=MODEL),
    messages.LoadFailed(reason="no"),
    messages.Heartbeat(step_counter=4, jobs=["j"]),
    messages.Progress(job="j", attempt=1, step=1, total_steps=4, seconds_per_step=0.1, preview=None),
    messages.Done(job="j", attempt=1, images=[IMAGE]),
    messages.Failed(job="j", attempt=1, reason="no"),
    messages.Cancelled(job="j", attempt=1),
]


@pytest.mark.parametrize("message", TO_WORKER + FROM_WORKER, ids=lambda message: type(message).__name__)
def test_there_and_back(message: Message) -> None:
    frame = pack(message)  # type: ignore[arg-type]
    assert frame_length(frame[:4]) == len(frame) - 4
    unpack = unpack_to_worker if message in TO_WORKER else unpack_from_worker
    assert unpack(frame[4:]) == message


def test_each_side_understands_only_what_is_meant_for_it() -> None:
    with pytest.raises(BadFrame):
        unpack_from_worker(pack(messages.Shutdown())[4:])
    with pytest.raises(BadFrame):
        unpack_to_worker(pack(messages.LoadFailed(reason="x"))[4:])


@pytest.mark.parametrize("body", [b"", b"print from a library\n", b"\x80\x04\x95pickle"])
def test_garbage(body: bytes) -> None:
    with pytest.raises(BadFrame):
        unpack_from_worker(body)


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"Load"])
def test_lengths_that_no_message_has(header: bytes) -> None:
    with pytest.raises(BadFrame):
        frame_length(header)
