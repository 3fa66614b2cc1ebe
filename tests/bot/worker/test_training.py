"""Trainings beside pictures, with the real engine, a tiny model, and a trainer that learns nothing."""

import errno
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image

from bot.errors import INTERNAL_ERROR, DiskFull
from bot.worker import training_run
from bot.worker.beats import Beats
from bot.worker.drawing import DrawingLoop
from bot.worker.messages import Cancel, Cancelled, Done, Draw, Failed, Forget, Heartbeat, Progress, Train
from bot.worker.pictures import CheckedFiles
from bot.worker.share import Share
from bot.worker.time_left import Expected
from bot.worker.training import TrainingLoop
from bot.worker.work import Work
from generation.engine import Engine
from generation.events import ImageReady
from generation.model import load_model
from generation.recipe import Recipe
from generation.request import ConceptUse, ImageRequest
from tests.generation.concepts.writing import linear_only, peft_style, random_layers, write
from training.events import Finished, Phase, Sampled, Stepped, TrainingEvent, TrainingRefused
from training.order import Card, Method, TrainedConcept, TrainingOrder, Verdict

STEPS = 8
PICTURE_STEPS = 3
CARD = Card(verdict=Verdict.LEARNED)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A network this small only loses by being split."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_model(str(tiny_model_folder), device="cpu")


@pytest.fixture(autouse=True)
def progress_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "PROGRESS_SECONDS", 0.0)


class CountingTrainer:
    """Goes through the phases and writes a file of random layers. What happens at a place is in `at`."""

    def __init__(self, world: "World", train: Train, engine: Engine) -> None:
        self._world, self._train, self._engine = world, train, engine
        self.closed = 0

    def steps(self) -> Generator[TrainingEvent, None, None]:
        for done in range(1, 3):
            yield self._at(Stepped(Phase.PREPARING, done, 2))
        for step in range(1, STEPS + 1):
            yield self._at(Stepped(Phase.TRAINING, step, STEPS))
            if step % 2 == 0:
                yield from self._sample(step / STEPS)
        path = Path(self._train.concept_dir) / "concept.safetensors"
        write(path, peft_style(random_layers(self._world.model.unet, seed=3, rank=4, wanted=linear_only)))
        yield self._at(Stepped(Phase.JUDGING, 1, 1))
        yield Finished(
            TrainedConcept(
                file=str(path),
                sha256="0" * 64,
                trigger="apple",
                steps=STEPS,
                stopped_early=False,
                seconds=1.0,
                card=CARD,
            )
        )

    def close(self) -> None:
        self.closed += 1

    def _at(self, event: Stepped) -> Stepped:
        self._world.at(event)
        return event

    def _sample(self, fraction: float) -> Iterator[TrainingEvent]:
        self._engine.admit("training-sample", ImageRequest(prompt=["a fox", "a car"], seed=1, num_inference_steps=2))
        images: list[tuple[Image.Image, Recipe]] = []
        while self._engine.busy:
            images += [(e.image, e.recipe) for e in self._engine.step() if isinstance(e, ImageReady)]
            yield self._at(Stepped(Phase.SAMPLING, len(images), 2))
        yield Sampled(fraction, images)


class World:
    """The worker's loops with everything that they said, and a trainer's surroundings."""

    def __init__(self, model: Any, folder: Path, score: Callable[[Image.Image], float] = lambda _: 0.1) -> None:
        self.model, self.folder = model, folder
        self.said: list[Any] = []
        self.begun: list[CountingTrainer] = []
        self.tidied = 0
        self.strips: list[list[tuple[float, int]]] = []
        self.at: Callable[[Stepped], object] = lambda _: None
        self.refuse: Exception | None = None
        files = CheckedFiles(score, nsfw_threshold=0.7)
        self.engine = Engine(model)
        self.training = TrainingLoop(self.engine, self, files, self.said.append)  # type: ignore[arg-type]
        drawing = DrawingLoop(self.engine, files, self.said.append)
        self.work = Work(drawing, self.training, Beats(self.said.append, every=0.01), Share())

    # Trainers

    def begin(self, train: Train, engine: Any) -> CountingTrainer:
        if self.refuse is not None:
            raise self.refuse
        self.begun.append(CountingTrainer(self, train, engine))
        return self.begun[-1]

    def expected(self, train: Train) -> Expected:
        return Expected(len(train.photos), STEPS, 1, 0, 2, 0, train.request.total_images, 2 * PICTURE_STEPS)

    def samples_picture(self, images: Sequence[Image.Image]) -> Image.Image:
        strip = Image.new("RGB", (64 * len(images), 64))
        for index, image in enumerate(images):
            strip.paste(image, (64 * index, 0))
        return strip

    def strip_picture(self, samples: Sequence[tuple[float, Sequence[Image.Image]]], card: Card) -> Image.Image:
        assert card == CARD
        self.strips.append([(fraction, len(images)) for fraction, images in samples])
        return Image.new("RGB", (64, 64), "teal")

    def sentence(self, error: Exception) -> str | None:
        return "Known." if isinstance(error, KeyError) else None

    def tidy(self) -> None:
        self.tidied += 1

    # what a test does

    def train(self, job: str = "t", attempt: int = 1) -> None:
        folder = self.folder
        self.work.take(
            Train(
                job=job,
                attempt=attempt,
                order=TrainingOrder(job=job, method=Method.LORA, name="thing", class_word="apple"),
                photos=["0.png", "1.png", "2.png"],
                work_dir=str(folder / "trainings" / job),
                prior_dir=str(folder / "prior"),
                concept_dir=str(folder / "concepts" / job),
                request=ImageRequest(
                    prompt=["a <thing>", "a red <thing>"], seed=4, num_inference_steps=PICTURE_STEPS
                ),
                output_dir=str(folder / "images" / job),
            )
        )

    def draw(self, job: str = "p", steps: int = 6, concepts: Sequence[ConceptUse] = ()) -> None:
        prompt = "a <thing>" if concepts else "a red apple"
        request = ImageRequest(prompt=prompt, seed=3, num_inference_steps=steps, concepts=list(concepts))
        self.work.take(Draw(job=job, attempt=1, request=request, output_dir=str(self.folder / "images" / job)))

    def run(self, until: Callable[[], object] = lambda: False) -> None:
        while self.work.patience < 1 and not until():
            self.work.step()

    def only(self, kind: type, job: str | None = None) -> list[Any]:
        return [m for m in self.said if isinstance(m, kind) and (job is None or m.job == job)]

    def loaded(self) -> list[str]:
        """What is left of concepts in the engine: files as read, slots, texts."""
        concepts, texts = self.engine._concepts, self.engine._conditioning
        read = [Path(path).name for path, *_ in concepts._files._readings]
        return [*read, *concepts._table._entries, *(key.text for key in texts._cache if key.concepts is not None)]

    def files(self, folder: str) -> list[str]:
        found = (path for path in (self.folder / folder).rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder / folder).as_posix() for path in found)


def test_a_training_from_the_first_word_to_the_pictures_of_the_concept(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path)
    world.train()
    world.run()
    progress = world.only(Progress)
    phases = [message.phase for message in progress]
    kept = [phase for index, phase in enumerate(phases) if phase is not phases[index - 1] or index == 0]
    assert kept == [Phase.PREPARING, *[Phase.TRAINING, Phase.SAMPLING] * 4, Phase.JUDGING, Phase.SAMPLING]
    assert [message.step for message in progress if message.phase is Phase.TRAINING] == list(range(1, STEPS + 1))
    assert sum(message.preview is not None for message in progress) == 4
    assert all(message.seconds_left is not None for message in progress[1:])
    assert progress[-1].seconds_left == 0
    (done,) = world.only(Done)
    assert world.said[-1] is done
    assert done.trained.card == CARD
    assert [image.recipe.prompt for image in done.images] == ["a <thing>", "a red <thing>"]
    assert [image.recipe.concepts[0].name for image in done.images] == ["thing"] * 2
    assert world.files("images/t") == ["1-0.png", "1-1.png"]
    assert world.files("concepts/t") == ["concept.safetensors", "strip.png"]
    assert world.strips == [[(0.25, 2), (0.5, 2), (0.75, 2), (1.0, 2)]]
    assert world.begun[0].closed
    assert world.tidied == 1
    assert not world.training.busy


def test_what_the_job_draws_is_drawn_with_the_finished_concept(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path)
    world.train()
    world.run()
    path = str(tmp_path / "concepts" / "t" / "concept.safetensors")
    request = ImageRequest(prompt=["a <thing>", "a red <thing>"], seed=4, num_inference_steps=PICTURE_STEPS)
    use = ConceptUse(name="thing", path=path, trigger="apple")
    engine = Engine(model)
    engine.admit("c", msgspec.structs.replace(request, concepts=[use]))
    expected: dict[int, Image.Image] = {}
    while engine.busy:
        expected |= {e.index: e.image for e in engine.step() if isinstance(e, ImageReady)}
    for index, image in enumerate(world.only(Done)[0].images):
        with Image.open(image.path) as drawn:
            assert drawn.tobytes() == expected[index].tobytes()


def test_pictures_go_on_and_no_two_micro_steps_come_between_two_of_their_steps(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path)
    world.train()
    world.run(lambda: len(world.only(Progress)) == 3)
    world.draw(steps=30)
    world.run(lambda: world.only(Done, "p"))
    first = next(i for i, m in enumerate(world.said) if isinstance(m, Progress) and m.job == "p")
    last = next(i for i, m in enumerate(world.said) if isinstance(m, Done) and m.job == "p")
    between = [m.job for m in world.said[first:last] if isinstance(m, Progress)]
    assert between.count("p") == 31
    assert "tt" not in "".join(between)
    assert len(world.only(Done)) == 1, "a training does not overtake"
    world.run()
    assert [done.job for done in world.only(Done)] == ["p", "t"]


def test_it_is_byte_equal_what_is_drawn_beside_it(model: Any, tmp_path: Path) -> None:
    alone = World(model, tmp_path / "alone")
    alone.draw()
    alone.run()
    beside = World(model, tmp_path / "beside")
    beside.train()
    beside.run(lambda: len(beside.only(Progress)) == 5)
    beside.draw()
    beside.run()
    first, second = (Path(world.only(Done, "p")[0].images[0].path).read_bytes() for world in (alone, beside))
    assert first == second


def test_several_trainings_take_turns_in_their_order_and_beats_name_all(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path)
    world.train("t")
    world.train("u")
    world.run(lambda: len(world.only(Progress)) == 2)
    world.work.beat()
    assert world.only(Heartbeat)[-1].jobs == ["t", "u"]
    world.draw("p")
    time.sleep(0.02)  # the next beat is due
    world.work.beat()
    assert world.only(Heartbeat)[-1].jobs == ["p", "t", "u"]
    world.run()
    assert [done.job for done in world.only(Done)] == ["p", "t", "u"]


def test_a_long_micro_step_is_covered_by_beats_that_name_it(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path)
    heard: list[bool] = []

    def wait_for_a_beat(_: Stepped) -> None:
        count = len(world.only(Heartbeat))
        for _try in range(1000):
            if len(world.only(Heartbeat)) > count:
                break
            time.sleep(0.01)
        heard.append(world.only(Heartbeat)[-1].jobs == ["t"])

    world.at = wait_for_a_beat
    world.train()
    world.run(lambda: len(heard) >= 2)
    assert heard[:2] == [True, True]


@pytest.mark.parametrize(
    ("phase", "step"),
    [(None, 0), (Phase.PREPARING, 1), (Phase.TRAINING, 3), (Phase.SAMPLING, 1), (Phase.JUDGING, 1), ("pictures", 0)],
)
def test_it_can_be_cancelled_in_every_phase(model: Any, tmp_path: Path, phase: Any, step: int) -> None:
    world = World(model, tmp_path)
    world.train()

    def there() -> bool:
        if phase == "pictures":
            return "1-0.png" in world.files("images/t")
        return any((message.phase, message.step) == (phase, step) for message in world.only(Progress))

    if phase is not None:
        world.run(there)
        assert there()
    world.work.take(Cancel(job="t"))
    assert world.only(Cancelled) == [Cancelled(job="t", attempt=1)]
    assert not world.training.busy
    assert world.files("concepts") == []
    assert world.loaded() == []
    assert not (tmp_path / "images" / "t" / "preview.webp").exists()
    said = len(world.said)
    world.run()
    assert len(world.said) == said
    assert all(trainer.closed for trainer in world.begun)
    world.work.take(Cancel(job="t"))
    assert len(world.only(Cancelled)) == 1
    world.train(attempt=2)  # the slots are free, the worker is well
    world.run()
    assert [done.attempt for done in world.only(Done)] == [2]


def test_beats_go_on_while_a_cancelled_one_puts_its_things_away(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large checkpoint may still be on its way to the disk."""
    world = World(model, tmp_path)
    world.train()
    world.run(lambda: len(world.only(Progress)) == 3)
    heard: list[bool] = []

    def wait_for_a_beat() -> None:
        count = len(world.only(Heartbeat))
        for _try in range(100):
            if len(world.only(Heartbeat)) > count:
                break
            time.sleep(0.01)
        heard.append(len(world.only(Heartbeat)) > count)

    monkeypatch.setattr(world.begun[0], "close", wait_for_a_beat)
    world.work.take(Cancel(job="t"))
    assert heard == [True]


def test_one_that_waits_is_cancelled_and_the_other_goes_on(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path)
    world.train("t")
    world.train("u")
    world.run(lambda: len(world.only(Progress)) == 2)
    world.work.take(Cancel(job="u"))
    assert [cancelled.job for cancelled in world.only(Cancelled)] == ["u"]
    world.run()
    assert [done.job for done in world.only(Done)] == ["t"]


# ── what goes wrong ──


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TrainingRefused("It needs 22.1 GB and there are 12.0."), "It needs 22.1 GB and there are 12.0."),
        (KeyError("known to the library"), "Known."),
        (OSError(errno.ENOSPC, "No space left on device"), str(DiskFull())),
        (ValueError("/secret/path"), INTERNAL_ERROR),
    ],
)
@pytest.mark.parametrize("at", ["expected", "begin", "later"])
def test_it_fails_with_a_sentence_and_pictures_go_on(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str, at: str
) -> None:
    world = World(model, tmp_path)

    def fail(event: Stepped) -> None:
        if event.phase is Phase.JUDGING:
            raise error

    if at == "expected":
        monkeypatch.setattr(world, "expected", lambda _: fail(Stepped(Phase.JUDGING, 0, 1)))
    elif at == "begin":
        world.refuse = error
    else:
        world.at = fail
    world.train()
    world.draw()
    world.run()
    assert [(failed.job, failed.reason) for failed in world.only(Failed)] == [("t", reason)]
    assert [done.job for done in world.only(Done)] == ["p"]
    assert world.files("concepts") == []
    assert world.tidied == 1
    assert all(trainer.closed for trainer in world.begun)


def test_samples_that_may_not_be_seen_are_left_out(model: Any, tmp_path: Path) -> None:
    checked: list[tuple[int, int]] = []

    def score(image: Image.Image) -> float:
        checked.append(image.size)
        return 0.9 if len(checked) == 1 else 0.1

    world = World(model, tmp_path, score)
    world.train()
    world.run()
    assert checked[:3] == [(64, 64), (64, 64), (64, 64)], "two samples, and the strip of the one that is left"
    assert world.strips == [[(0.25, 1), (0.5, 2), (0.75, 2), (1.0, 2)]]
    assert sum(message.preview is not None for message in world.only(Progress)) == 4


def test_nothing_unsafe_is_written_where_members_look(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path, lambda _: 0.9)
    world.train()
    world.run()
    assert all(message.preview is None for message in world.only(Progress))
    assert world.files("concepts/t") == ["concept.safetensors"]
    assert world.files("trainings/t") == []
    (done,) = world.only(Done)
    assert [image.nsfw for image in done.images] == [0.9, 0.9], "for the bot to decide, as with all pictures"


def test_a_check_that_crashes_shows_nothing_and_the_concept_is_there(model: Any, tmp_path: Path) -> None:
    world = World(model, tmp_path, lambda _: 1 / 0)
    world.train()
    world.run()
    assert all(message.preview is None for message in world.only(Progress))
    (done,) = world.only(Done)
    assert done.images == []
    assert world.files("images") == world.files("trainings") == []
    assert world.files("concepts/t") == ["concept.safetensors"]


def test_another_process_writes_the_strip_with_the_samples_of_the_first(model: Any, tmp_path: Path) -> None:
    first = World(model, tmp_path)
    first.train()
    first.run(lambda: sum(message.preview is not None for message in first.only(Progress)) == 2)
    second = World(model, tmp_path)  # the first was killed
    second.train(attempt=2)
    second.run()
    assert second.strips == [[(0.25, 2), (0.5, 2), (0.75, 2), (1.0, 2)]]
    assert second.files("images/t") == ["2-0.png", "2-1.png"]


def test_samples_that_a_power_cut_has_broken_and_a_full_disk_cost_no_concept(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(model, tmp_path)
    world.train()
    world.run(lambda: world.only(Progress) and world.only(Progress)[-1].phase is Phase.JUDGING)
    (tmp_path / "trainings" / "t" / "samples" / "0.25-0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    full = Image.new("RGB", (8, 8))

    def save(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(full, "save", save)
    strip_of = world.strip_picture
    monkeypatch.setattr(world, "strip_picture", lambda *said: (strip_of(*said), full)[1])
    world.run()
    assert world.strips == [[(0.25, 1), (0.5, 2), (0.75, 2), (1.0, 2)]]
    assert len(world.only(Done)) == 1
    assert world.files("concepts/t") == ["concept.safetensors"]


# ── forgetting ──


def test_a_deleted_concept_is_forgotten(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(model, tmp_path)
    forgotten: list[str] = []
    monkeypatch.setattr(world.engine, "forget_concept", forgotten.append)
    world.work.take(Forget(sha256="ab"))
    assert forgotten == ["ab"]


def test_a_picture_that_waits_for_a_deleted_concept_fails_with_a_sentence(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "thing.safetensors"
    write(path, peft_style(random_layers(model.unet, seed=3, rank=4, wanted=linear_only)))
    use = ConceptUse(name="thing", path=str(path))
    world = World(model, tmp_path)
    world.draw("a", concepts=[use])
    world.run()
    sha256 = world.only(Done)[0].images[0].recipe.concepts[0].sha256
    world.draw("b", concepts=[use])
    world.work.take(Forget(sha256=sha256))
    world.run()
    assert [(failed.job, "deleted" in failed.reason) for failed in world.only(Failed)] == [("b", True)]
