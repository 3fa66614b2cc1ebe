from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from generation.conditioning import Conditioning
from generation.model import LoadedModel
from tests.training.small_training import order, settings, tiny
from training.dataset import Latents
from training.learner import ParameterGroup
from training.optimization import Optimization
from training.textual_inversion import TextualInversion

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """It is asked for x₀, so that a loss doesn't depend on noise and timesteps."""
    loaded = tiny(tmp_path_factory.mktemp("tiny"))
    return dataclasses.replace(loaded, info=msgspec.structs.replace(loaded.info, prediction_type="sample"))


def latents(*values: float) -> Latents:
    """Pictures of one colour each."""
    mean = torch.tensor(values).view(-1, 1, 1, 1, 1).expand(-1, 2, 1, 2, 2).clone()
    return Latents(mean, torch.zeros_like(mean))


class OneNumber:
    """Whatever is asked, it says its one number."""

    trigger = "it"

    def __init__(self, value: float, *, trains_text: bool = False, learning_rate: float = 0.01) -> None:
        self.value = nn.Parameter(torch.tensor(value))
        self.trains_text, self.learning_rate = trains_text, learning_rate
        self.encoded: list[list[str]] = []

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(["value"], [self.value], self.learning_rate)]

    def encode(self, captions: Sequence[str]) -> Conditioning:
        self.encoded.append(list(captions))
        return Conditioning(torch.zeros(len(captions), 1, 1), {})

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        assert len(noisy) == len(timesteps) == len(conditioning.hidden)
        return self.value.expand_as(noisy)

    def instance_caption(self, template: str) -> str:
        return template.format("it")

    def after_step(self) -> None: ...

    def state(self) -> dict[str, Tensor]:
        return {"value": self.value.detach()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        self.value.data.copy_(tensors["value"])

    def save(self, path: Path) -> None: ...


def optimization(
    model: LoadedModel, learner: Any, prior: Latents | None = None, held_out: Latents | None = None, **values: Any
) -> Optimization:
    return Optimization(model, learner, order(), settings(**values), latents(0.0, 0.0), held_out, prior)


def run(generator: Generator[None, None, Any]) -> tuple[int, Any]:
    """How often it yielded, and its result."""
    count = 0
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return count, end.value
        count += 1


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(("weight", "direction"), [(0.9, -1), (1.1, 1)])
def test_photos_and_class_pictures_are_weighed_against_each_other(
    model: LoadedModel, batch_size: int, weight: float, direction: int
) -> None:
    # Photos are 0 and class pictures 2, so at 1 the one pulls down as much as the other up: the weight decides.
    learner = OneNumber(1.0)
    run(
        optimization(
            model, learner, latents(2.0), batch_size=batch_size, prior_loss_weight=weight, max_grad_norm=1e9
        ).take_step()
    )
    moved = float(learner.value.detach()) - 1
    assert moved * direction > 0


@pytest.mark.parametrize(("rows", "pieces"), [(1, 8), (3, 3), (8, 1)])
def test_a_step_in_pieces_is_the_same_step(model: LoadedModel, rows: int, pieces: int) -> None:
    learner = OneNumber(1.2, learning_rate=0.0)
    gradients: list[Tensor] = []
    learner.value.register_post_accumulate_grad_hook(lambda value: gradients.append(value.grad.clone()))  # type: ignore[union-attr]
    yielded, _ = run(
        optimization(
            model, learner, latents(2.0), batch_size=4, micro_rows=rows, prior_loss_weight=0.5, max_grad_norm=1e9
        ).take_step()
    )
    assert yielded == pieces - 1
    # d/dv of mean (v − 0)² + 0.5 · mean (v − 2)² at v = 1.2
    assert gradients[-1].item() == pytest.approx(2 * 1.2 + 0.5 * 2 * (1.2 - 2), rel=1e-5)


def test_the_deterministic_loss_is_of_the_held_out_photo(model: LoadedModel) -> None:
    learner = OneNumber(1.0)
    run_ = optimization(model, learner, held_out=latents(3.0), evaluation_rows=4, micro_rows=2)
    assert run(run_.evaluate()) == (1, pytest.approx(4.0))
    assert learner.value.grad is None
    assert run(optimization(model, learner, evaluation_rows=4).evaluate())[1] == pytest.approx(1.0)


def test_captions_are_encoded_once_unless_the_text_is_trained(model: LoadedModel) -> None:
    templates = ("a photo of {}",)
    cached = OneNumber(1.0)
    steps = optimization(model, cached, latents(2.0), templates=templates, batch_size=2)
    for _ in range(3):
        run(steps.take_step())
    assert sorted(cached.encoded) == [["a photo of an apple"], ["a photo of it"]]
    trained = OneNumber(1.0, trains_text=True)
    steps = optimization(model, trained, latents(2.0), templates=templates, batch_size=2, micro_rows=4)
    for _ in range(3):
        run(steps.take_step())
    assert trained.encoded == [["a photo of it", "a photo of an apple"]] * 3


def test_a_step_draws_by_its_number_alone(model: LoadedModel) -> None:
    def trained(order_of_steps: Sequence[int]) -> list[Tensor]:
        seen: list[Tensor] = []

        class Watching(OneNumber):
            def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
                seen.append(noisy.clone())
                return super().predict(noisy, timesteps, conditioning)

        steps = optimization(model, Watching(1.0))
        for step in order_of_steps:
            steps.step = step
            run(steps.take_step())
        return seen

    first, again = trained([0, 1, 2]), trained([2, 1])
    assert torch.equal(first[2], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], first[1])


def test_warm_up(model: LoadedModel) -> None:
    learner = OneNumber(1.0, learning_rate=0.1)
    steps = optimization(model, learner, warmup_steps=4)
    places = [1.0]
    for _ in range(6):
        run(steps.take_step())
        places.append(float(learner.value.detach()))
    # Adam's steps are as long as the rate while the gradient keeps its sign and size.
    moved = [before - after for before, after in pairwise(places)]
    assert moved[:2] == [pytest.approx(0.025, rel=0.05), pytest.approx(0.05, rel=0.05)]
    assert moved[4] == pytest.approx(0.1, rel=0.1)


def test_text_is_trained_through_the_whole_model(model: LoadedModel) -> None:
    """With a real learner: rows move, and the loss on what it trains on falls."""
    learner = TextualInversion(model, order(), settings(learning_rate=0.05, norm_limit=100.0))
    generator = torch.Generator().manual_seed(2)
    channels, size = model.unet_config.in_channels, model.latent_size
    mean = torch.randn(3, 2, channels, *size, generator=generator) + 0.5
    steps = Optimization(model, learner, order(), settings(), Latents(mean, torch.zeros_like(mean)), None, None)
    _, before = run(steps.evaluate())
    for _ in range(12):
        run(steps.take_step())
    assert run(steps.evaluate())[1] < before


def test_in_float16_gradients_are_scaled_and_overflows_skipped(model: LoadedModel) -> None:
    half = dataclasses.replace(model, dtype=torch.float16)

    def trained(model: LoadedModel, start: float, limit: float) -> float:
        learner = OneNumber(start)
        run(optimization(model, learner, latents(2.0), prior_loss_weight=0.5, max_grad_norm=limit).take_step())
        return float(learner.value.detach())

    assert trained(half, 1.2, 1e-4) == pytest.approx(trained(model, 1.2, 1e-4), rel=1e-6)
    # A gradient of 2e37 is still a float32, but 1,024 times as much is not.
    assert trained(half, 1e37, 1.0) == pytest.approx(1e37, rel=1e-6)


def test_the_rate_falls_evenly(model: LoadedModel) -> None:
    learner = OneNumber(1.0, learning_rate=0.01)
    steps = optimization(model, learner, max_steps=4, final_rate=0.2)
    places = [1.0]
    for _ in range(4):
        run(steps.take_step())
        places.append(float(learner.value.detach()))
    moved = [before - after for before, after in pairwise(places)]
    assert moved == pytest.approx([0.01, 0.008, 0.006, 0.004], rel=0.05)


@pytest.mark.parametrize(("share", "fewest", "most"), [(0.0, 0, 0), (0.5, 35, 65), (1.0, 100, 100)])
def test_so_many_captions_name_their_own_background(model: LoadedModel, share: float, fewest: int, most: int) -> None:
    """Photo 0 is on red, 1 on blue; the deterministic loss is always taken with the words."""
    learner = OneNumber(0.0, trains_text=True)
    values = settings(max_steps=100, batch_size=1, name_backgrounds=share)
    photos = dataclasses.replace(latents(0.0, 1.0), words=(" on red", " on blue"))
    steps = Optimization(model, learner, order(), values, photos, None, None)
    captions: list[str] = []
    for _ in range(100):
        run(steps.take_step())
        captions += learner.encoded[-1]
    words = [caption.partition(" on ")[2] for caption in captions]
    assert fewest <= 100 - words.count("") <= most
    assert set(words) - {""} == ({"red", "blue"} if share else set())
    learner.encoded.clear()
    run(steps.evaluate())
    assert {caption.partition(" on ")[2] for some in learner.encoded for caption in some} == {"red", "blue"}


@pytest.fixture
def several_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("several_threads")
def test_several_threads_sum_the_gradient_of_captions_in_one_order(model: LoadedModel) -> None:
    """Else a killed training that goes on ends in another file. Six rows of two captions, large enough to be shared
    out between threads."""

    class ManyNumbers(OneNumber):
        def __init__(self) -> None:
            super().__init__(0.0, trains_text=True)
            self.hidden = nn.Parameter(torch.ones(2, 77, 768))

        def encode(self, captions: Sequence[str]) -> Conditioning:
            assert len(captions) == 2
            return Conditioning(self.hidden, {})

        def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
            hidden = conditioning.hidden
            weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))
            return noisy * 0 + (hidden * weights).sum((1, 2)).view(-1, 1, 1, 1)

    gradients = set[bytes]()
    for _ in range(12):
        learner = ManyNumbers()
        learner.hidden.register_post_accumulate_grad_hook(
            lambda value: gradients.add(value.grad.numpy().tobytes())  # type: ignore[union-attr]
        )
        run(optimization(model, learner, latents(2.0), batch_size=4, micro_rows=8).take_step())
    assert len(gradients) == 1


@pytest.mark.parametrize(("share", "fewest", "most"), [(0.0, 0, 0), (0.5, 15, 35), (1.0, 50, 50)])
def test_so_many_steps_have_class_pictures_without_a_caption(
    model: LoadedModel, share: float, fewest: int, most: int
) -> None:
    learner = OneNumber(0.0, trains_text=True)
    values = settings(max_steps=50, batch_size=2, micro_rows=4, unconditional_prior=share, name_backgrounds=1.0)
    photos = dataclasses.replace(latents(0.0), words=(" on red",))
    prior = dataclasses.replace(latents(1.0), words=(" on blue",))
    steps = Optimization(model, learner, order(), values, photos, None, prior)
    for _ in range(50):
        run(steps.take_step())
    assert all(photo.endswith("it on red") for photo, _ in learner.encoded)
    of_class = [caption for _, caption in learner.encoded]
    assert set(of_class) <= {"", "a photo of an apple on blue"}
    assert fewest <= of_class.count("") <= most
