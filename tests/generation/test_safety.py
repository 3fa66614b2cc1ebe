from __future__ import annotations

import io
import math
import subprocess
import sys

import pytest
from PIL import Image, ImageDraw

from generation.safety import OutputCheck


@pytest.fixture(scope="module")
def check() -> OutputCheck:
    return OutputCheck()


def test_a_drawn_apple_is_safe(check: OutputCheck) -> None:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill="red")
    assert 0 <= check.score(image) < 0.5


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_any_kind_of_picture_can_be_checked(check: OutputCheck, mode: str) -> None:
    assert 0 <= check.score(Image.new("RGB", (300, 20), "green").convert(mode)) <= 1


def test_a_score_that_is_no_number_is_an_error_not_a_pass(check: OutputCheck) -> None:
    class Broken:
        def classify(self, _: Image.Image) -> object:
            return type("Prediction", (), {"nsfw": math.nan})()

    broken = OutputCheck.__new__(OutputCheck)
    broken._classifier = Broken()
    with pytest.raises(ArithmeticError):
        broken.score(Image.new("RGB", (8, 8)))


def test_a_picture_that_cannot_be_checked_raises(check: OutputCheck) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    cut_off = Image.open(io.BytesIO(buffer.getvalue()[:500]))
    with pytest.raises(OSError, match="truncated"):
        check.score(cut_off)


def test_the_network_is_loaded_only_when_a_check_is_made() -> None:
    program = "import sys, generation.safety; print('onnxruntime' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
