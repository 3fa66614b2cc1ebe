"""What the bot and its worker process say to each other: typed structs as msgpack, never pickles.

A frame is four bytes of length (big endian), then one struct. Pictures travel as paths of files.
"""

from typing import Any

import msgspec

from generation.recipe import Recipe
from generation.request import ImageRequest, ModelInfo
from training.events import Phase
from training.order import TrainedConcept, TrainingOrder

MAX_FRAME = 4 * 1024 * 1024
_LENGTH = 4


class BadFrame(Exception):
    """The other side sent something that is not one of our messages."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tagged with its class name, so that either side knows what it reads."""


# ── to the worker ──


class Load(Message, frozen=True, kw_only=True):
    """The first message: which model to load, how, and how strict the output check is."""

    model: str = "bundled"
    device: str = "auto"
    dtype: str = "auto"
    output_check: bool = True
    nsfw_threshold: float = 0.7
    reproducible: bool = False


class Draw(Message, frozen=True, kw_only=True):
    """`request.init_image` is a path. Where nothing is there, `redraw` is drawn first, as one picture, into it."""

    job: str
    attempt: int
    request: ImageRequest
    output_dir: str
    redraw: ImageRequest | None = None
    resample: Recipe | None = None
    """Of the start image, which is then enlarged by a filter and not drawn over: nothing else of `request` counts."""


class Train(Message, frozen=True, kw_only=True):
    """Paths are absolute. Ends with `Done` (whose `trained` says what came of it), `Failed` or `Cancelled`."""

    job: str
    attempt: int
    order: TrainingOrder
    photos: list[str]
    """Clean RGB pictures, as `training.photos` wrote them."""
    work_dir: str
    """Latents and checkpoints: what is in it is gone on with. The bot removes it when the training has ended."""
    prior_dir: str
    """Pictures of class words, for every training on this machine."""
    concept_dir: str
    """Where the concept's file and its pictures go."""
    request: ImageRequest
    """Drawn with the finished concept, as the pictures of the job."""
    output_dir: str
    """For those, and for previews."""


class Cancel(Message, frozen=True, kw_only=True):
    """A drawing or a training."""

    job: str


class Forget(Message, frozen=True, kw_only=True):
    """A concept was deleted: its slot, its merged copies and its file as read go."""

    sha256: str


class Shutdown(Message, frozen=True, kw_only=True):
    pass


ToWorker = Load | Draw | Train | Cancel | Forget | Shutdown

# ── from the worker ──


class DrawnImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image that lies on disk under its final name. `nsfw` is 0 to 1.

    `width` and `height` are the image's own; `recipe` is of the picture before it was resampled, if it was.
    """

    path: str
    seed: int
    width: int
    height: int
    recipe: Recipe
    nsfw: float
    words_not_read: list[str] = []


class Loading(Message, frozen=True, kw_only=True):
    text: str
    fraction: float | None = None


class Ready(Message, frozen=True, kw_only=True):
    model: ModelInfo


class LoadFailed(Message, frozen=True, kw_only=True):
    reason: str


class Heartbeat(Message, frozen=True, kw_only=True):
    """Sent by the worker's main loop: a step that hangs stops it. `jobs` are those that it holds."""

    step_counter: int
    jobs: list[str] = []


class Progress(Message, frozen=True, kw_only=True):
    """After every step. `preview` is the path of a small checked picture, replaced in place by the next one and
    removed at the job's end: a reader must cope with its absence."""

    job: str
    attempt: int
    step: int
    total_steps: int
    seconds_per_step: float
    preview: str | None = None
    phase: Phase | None = None
    """Of a training; its steps are then those of this phase."""
    seconds_left: float | None = None
    """Of a training, all phases together, at the pace of now."""


class Done(Message, frozen=True, kw_only=True):
    job: str
    attempt: int
    images: list[DrawnImage]
    trained: TrainedConcept | None = None


class Failed(Message, frozen=True, kw_only=True):
    job: str
    attempt: int
    reason: str


class Cancelled(Message, frozen=True, kw_only=True):
    job: str
    attempt: int


FromWorker = Loading | Ready | LoadFailed | Heartbeat | Progress | Done | Failed | Cancelled


class WorkerLost(Message, frozen=True, kw_only=True):
    """Said by the supervisor, not by the process: it is gone and everything that it held is to be done again."""

    reason: str


_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def pack(message: ToWorker | FromWorker) -> bytes:
    """One frame, length included."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


def frame_length(header: bytes) -> int:
    """Bytes that follow the four of `header`. Raises BadFrame for a length that no message has."""
    length = int.from_bytes(header, "big")
    if not 0 < length <= MAX_FRAME:
        raise BadFrame(f"a frame of {length} bytes")
    return length


def _unpack(decoder: "msgspec.msgpack.Decoder[Any]", body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise BadFrame(str(error)) from error


def unpack_to_worker(body: bytes) -> ToWorker:
    """Raises BadFrame."""
    return _unpack(_to_worker, body)


def unpack_from_worker(body: bytes) -> FromWorker:
    """Raises BadFrame."""
    return _unpack(_from_worker, body)
