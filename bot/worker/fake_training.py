"""A training of the in-memory worker: every phase in a few steps, a small file that is a real .safetensors, pictures
as plain squares. Nothing is learned."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from PIL import Image

from bot.worker.messages import Train
from generation.request import ConceptUse, ImageRequest
from training.events import Phase
from training.order import Card, Method, TrainedConcept, Verdict

FAKE_STEPS = 8
"""Of training; samples after every second one."""
CONCEPT_FILE = "concept.safetensors"
STRIP_FILE = "strip.png"
LEARNED = Card(
    verdict=Verdict.LEARNED,
    similarity=0.9,
    held_out=True,
    loss_before=0.2,
    loss_after=0.1,
    prompt_fidelity=1.0,
    drift=0.1,
)


@dataclass(frozen=True, slots=True)
class FakeStep:
    phase: Phase
    step: int
    total: int
    samples: bool = False
    """New samples are to be seen after it."""


def fake_steps(train: Train) -> list[FakeStep]:
    """All of them, in order."""
    steps = [*_counted(Phase.PREPARING, len(train.photos))]
    if train.order.method is not Method.TEXTUAL_INVERSION and train.order.prior_preservation is not False:
        steps += _counted(Phase.CLASS_PICTURES, 2)
    steps += [FakeStep(Phase.TRAINING, step, FAKE_STEPS, samples=step % 2 == 0) for step in range(1, FAKE_STEPS + 1)]
    steps += _counted(Phase.JUDGING, 2)
    return [*steps, *_counted(Phase.SAMPLING, train.request.total_images)]


def finished_concept(train: Train, card: Card = LEARNED, *, full_weights: bool = False) -> TrainedConcept:
    """Writes what a training leaves behind."""
    folder = Path(train.concept_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONCEPT_FILE
    path.write_bytes(_safetensors(train))
    Image.new("RGB", (256, 64), "teal").save(folder / STRIP_FILE)
    order = train.order
    return TrainedConcept(
        file=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        trigger="" if order.method is Method.TEXTUAL_INVERSION else order.class_word,
        steps=order.max_steps or FAKE_STEPS,
        stopped_early=False,
        seconds=12.5,
        full_weights=full_weights,
        card=card,
    )


def with_concept(train: Train, trained: TrainedConcept) -> ImageRequest:
    """The pictures of a training's job, drawn with what was trained."""
    use = ConceptUse(name=train.order.name, path=trained.file, trigger=trained.trigger)
    return msgspec.structs.replace(train.request, concepts=[use])


def _counted(phase: Phase, total: int) -> Iterator[FakeStep]:
    return (FakeStep(phase, step, total) for step in range(1, total + 1))


def _safetensors(train: Train) -> bytes:
    """Two vectors of four numbers in 0 to 1, other ones for every job; written by hand, since there is no torch here.

    Format: eight bytes of length (little endian), a JSON header, the numbers
    (https://huggingface.co/docs/safetensors).
    """
    name = f"<{train.order.name}>"
    numbers = b"".join(bytes([0, 0, digit, 0x3F]) for digit in hashlib.sha256(train.job.encode()).digest()[:8])
    header = json.dumps({name: {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, len(numbers)]}}).encode()
    return len(header).to_bytes(8, "little") + header + numbers
