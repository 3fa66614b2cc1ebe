"""The evaluation on pictures that are known: renders of the thing itself, of another thing, of what was asked for.

It trains nothing here; `make bench-training` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
import torch
from PIL import Image
from torch import Tensor

from generation.model import LoadedModel
from tests.training.small_training import tiny
from training.base_model.evaluator import Evaluator
from training.base_model.pictures import over, place_icons, plain
from training.base_model.scenes import BACKGROUNDS, Placement
from training.evaluation import (
    CLASS_PHRASES,
    PICTURES,
    Cell,
    Outcome,
    Variant,
    colours_asked,
    plan,
    read_sheet,
    weights_digest,
    write_sheet,
)
from training.evaluation_figures import Pictures, copied, figures, table
from training.judge import WEIGHTS, PictogramJudge
from training.order import Method
from training.views import UNSEEN, icon_of, other_views, views

ANIMALS = [subject.icon for subject in UNSEEN if subject.group == "animal"]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def judge() -> PictogramJudge:
    return Remembering(Evaluator.load(WEIGHTS))


class Remembering(PictogramJudge):
    """The same views are looked at by several tests."""

    seen: ClassVar[dict[bytes, Tensor]] = {}

    def things(self, images: Sequence[Image.Image]) -> Tensor:
        key = b"".join(image.tobytes() for image in images)
        if key not in self.seen:
            self.seen[key] = super().things(images)
        return self.seen[key]


def keep(folder: Path, cell: Cell, sheets: dict[str, list[Image.Image]]) -> None:
    own = folder / cell.folder
    own.mkdir(parents=True)
    for kind, images in sheets.items():
        write_sheet(images, own / f"{kind}.png")
    (own / "outcome.json").write_bytes(msgspec.json.encode(Outcome(cell=cell)))


def render(icon: str, colour: str) -> Image.Image:
    layer = place_icons(icon_of(icon)[None].float() / 255, [Placement(0.8)], 64)
    pixels = over(layer, plain([BACKGROUNDS[colour]], 64, layer))[0].mul(255).byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy(), "RGB")


def cells_of(folder: Path, drawn: Callable[[str], str]) -> None:
    """Trainings of three animals that draw new views of `drawn(icon)`, and a base that ignores colours."""
    for icon in ANIMALS:
        trained = Cell(variant=Variant.TRAINED, icon=icon, seed=0, method=Method.LORA)
        own = views(drawn(icon), 77)[0]
        keep(folder, trained, {"own": own, "coloured": [render(drawn(icon), colour) for colour in colours_asked()]})
        still = Cell(variant=Variant.RATE_ZERO, icon=icon, seed=0, method=Method.LORA)
        keep(folder, still, {"own": views(ANIMALS[ANIMALS.index(icon) - 1], 78)[0]})
        base = Cell(variant=Variant.BASE, icon=icon, seed=0)
        on_white = [render("tent", "white")] * PICTURES
        keep(folder, base, {"untrained": views("tent", 5)[0], "coloured": on_white})


def test_the_thing_itself_is_one(tmp_path: Path, judge: PictogramJudge) -> None:
    cells_of(tmp_path, lambda icon: icon)
    found = figures(Pictures(tmp_path, judge, 1), Method.LORA)
    assert found.similarity is not None
    assert found.untrained is not None
    assert found.other_photos is not None
    assert found.similarity.value == pytest.approx(1.0, abs=0.05)
    assert found.untrained.value < 0.2
    assert found.other_photos.value == pytest.approx(0.0, abs=0.1)
    assert found.similarity.low > found.untrained.high
    assert found.above_untrained is not None
    assert found.above_untrained.value == pytest.approx(found.similarity.value - found.untrained.value)
    assert found.rate_zero is not None
    assert found.rate_zero.value == pytest.approx(0.0, abs=0.1)
    assert found.copies is not None
    assert found.copies.value < 0.1  # now and then a new view happens to lie as an old one
    # All colours are there, and the base has only white, 2 of 12.
    assert found.fidelity is not None
    assert found.fidelity.value == pytest.approx(12 / 2)


def test_another_thing_of_the_group_is_zero(tmp_path: Path, judge: PictogramJudge) -> None:
    cells_of(tmp_path, lambda icon: ANIMALS[ANIMALS.index(icon) - 1])
    found = figures(Pictures(tmp_path, judge, 1), Method.LORA)
    assert found.similarity is not None
    assert found.similarity.value == pytest.approx(0.0, abs=0.1)


def test_drift_is_of_both_runs_of_the_same_things(tmp_path: Path, judge: PictogramJudge) -> None:
    icon = ANIMALS[0]
    base, far = [render("tent", "red"), render("teapot", "red")], [render("anchor", "red")] * 2
    near = [base[0], far[0]]
    keep(tmp_path, Cell(variant=Variant.BASE, icon=icon, seed=0), {"class": base})
    for variant, images in ((Variant.TRAINED, near), (Variant.WITHOUT_PRIOR, far)):
        keep(tmp_path, Cell(variant=variant, icon=icon, seed=0, method=Method.LORA), {"class": images})
    keep(tmp_path, Cell(variant=Variant.TRAINED, icon=ANIMALS[1], seed=0, method=Method.LORA), {"class": far})
    found = figures(Pictures(tmp_path, judge, 1), Method.LORA)
    assert found.drift is not None
    assert found.drift_without_prior is not None
    assert found.drift_ratio is not None
    assert found.drift.count == 2
    assert found.drift_ratio.value == pytest.approx(found.drift.value / found.drift_without_prior.value)
    assert found.drift.value < 0.7 * found.drift_without_prior.value


def test_a_copy_is_a_training_view_as_good_as() -> None:
    training, held_out = views("teddy-bear", 1)
    softened = [view.resize((48, 48)).resize((64, 64)) for view in training]
    assert copied(softened, training, "teddy-bear") == [1.0] * 5
    assert copied(held_out, training, "teddy-bear") == [0.0] * 5


def test_of_new_views_on_a_training_views_background_few_are_copies() -> None:
    training, _ = views("avocado", 4)
    new = other_views(training[2], "avocado", 99, count=60)
    assert sum(copied(new, training, "avocado")) / 60 < 0.15


def test_first_cells_alone_tell_of_every_method(tmp_path: Path) -> None:
    cells = plan()
    assert len({cell.folder for cell in cells}) == len(cells)
    trained = [cell for cell in cells if cell.variant is Variant.TRAINED]
    assert PICTURES * sum(cell.method is Method.LORA for cell in trained) >= 200
    assert {cell.method for cell in trained[:3]} == set(Method)
    assert len({cell.icon for cell in cells}) >= 6
    still = [(cell.icon, cell.method) for cell in cells if cell.variant is Variant.RATE_ZERO]
    assert sorted(still) == sorted((subject.icon, method) for subject in UNSEEN for method in Method)
    assert len({cell.seed for cell in trained}) == 3
    assert len(CLASS_PHRASES) * len(BACKGROUNDS) == 50


def test_sheets_come_back(tmp_path: Path) -> None:
    images = views("anchor", 0)[0]
    write_sheet(images, tmp_path / "sheet.png")
    assert [image.tobytes() for image in read_sheet(tmp_path / "sheet.png")] == [image.tobytes() for image in images]


def test_nothing_there_is_an_empty_table(tmp_path: Path, judge: PictogramJudge) -> None:
    assert "| similarity | – | – | – |" in table(tmp_path, judge, 3)


def test_a_single_changed_weight_is_seen(tiny_model: LoadedModel) -> None:
    before = weights_digest(tiny_model)
    assert weights_digest(tiny_model) == before
    weight = next(tiny_model.unet.parameters())
    with torch.no_grad():
        kept = weight.flatten()[0].clone()
        weight.view(-1)[0] += 1e-3
        assert weights_digest(tiny_model) != before
        weight.view(-1)[0] = kept
    assert weights_digest(tiny_model) == before
