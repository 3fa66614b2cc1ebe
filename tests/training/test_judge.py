"""The judge on renders of things that it has never seen: what the scale of every similarity stands on."""

from __future__ import annotations

import msgspec
import pytest
import torch
from PIL import Image

from generation.model import LoadedModel
from tests.training.small_training import tiny
from tests.training.test_backdrops import on_colour
from training.base_model.evaluator import Evaluator
from training.judge import WEIGHTS, PictogramJudge, alike, judge_for
from training.views import ALL_UNSEEN, views


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def judge() -> PictogramJudge:
    return PictogramJudge(Evaluator.load(WEIGHTS))


def test_every_thing_is_nearer_to_its_own_views_than_to_any_other(judge: PictogramJudge) -> None:
    training = {subject.icon: judge.things(views(subject.icon, 0)[0]) for subject in ALL_UNSEEN}
    for icon in training:
        held_out = judge.things(views(icon, 0)[1])
        cosines = {other: float(alike(features, held_out).mean()) for other, features in training.items()}
        own = cosines.pop(icon)
        assert own > 0.75
        assert max(cosines.values()) < own - 0.2  # two brown animals come nearest
        assert sum(cosines.values()) / len(cosines) < 0.25


def test_features_have_length_one_whatever_the_size(judge: PictogramJudge) -> None:
    view = views("teapot", 0)[0][0]
    features = judge.things([view, view.resize((128, 128), Image.Resampling.BICUBIC)])
    assert features.norm(dim=1).tolist() == pytest.approx([1, 1])
    assert float(features[0] @ features[1]) > 0.95
    assert judge.things([]).shape == (0, 128)


def test_backgrounds_are_named_as_in_prompts(judge: PictogramJudge) -> None:
    assert judge.backgrounds([on_colour((214, 48, 49)), on_colour((72, 168, 84))]) == ["red", "green"]


def test_alike_is_the_mean_cosine() -> None:
    some = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    others = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert alike(some, others).tolist() == pytest.approx([0.5, 0.7])


def test_only_pictograms_have_a_judge(tiny_model: LoadedModel) -> None:
    assert judge_for(tiny_model) is not None  # of 64 pixels and less
    defaults = msgspec.structs.replace(tiny_model.info.defaults, width=512, height=512)
    info = msgspec.structs.replace(tiny_model.info, defaults=defaults)
    assert judge_for(_WithInfo(info)) is None  # pyright: ignore[reportArgumentType]


class _WithInfo:
    def __init__(self, info: object) -> None:
        self.info = info
