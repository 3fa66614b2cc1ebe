"""The worker's start-up, in this process: what is loaded, and what a picture is asked of."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import generation.model
from bot.worker.messages import Load
from bot.worker.process import Loader


class FlagsAll:
    def flags(self, _: Image.Image) -> bool:
        return True


class Channel:
    def send(self, _: object) -> None:
        pass


@pytest.mark.parametrize(("output_check", "score"), [(True, 1.0), (False, 0.0)])
def test_the_models_own_checker_counts_unless_checks_are_off(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, output_check: bool, score: float
) -> None:
    load_model = generation.model.load_model

    def load(*args: Any, own_check: bool, **values: Any) -> Any:
        assert own_check == output_check
        return dataclasses.replace(load_model(*args, **values), own_check=FlagsAll())

    monkeypatch.setattr(generation.model, "load_model", load)
    message = Load(model=str(tiny_model_folder), device="cpu", output_check=output_check)
    loader = Loader(Channel(), message)  # type: ignore[arg-type]
    loader.run()
    assert loader.failure is None
    assert loader.work is not None
    assert loader.work._drawing._files._score(Image.new("RGB", (64, 64), "green")) == score
