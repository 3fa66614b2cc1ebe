"""Pictures are large enough to be seen and small enough to be sent, and keep their recipe."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bot.chat import attachments
from generation.recipe import Recipe, from_parameters, save_png


def recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {
        "prompt": "a réd apple",
        "guidance_scale": 7.5,
        "num_inference_steps": 20,
        "seed": 5,
        "width": 64,
        "height": 64,
        "scheduler": "ddim",
        "model_name": "tiny",
        "model_hash": "0123456789",
    }
    return Recipe(**{**values, **changes})  # pyright: ignore[reportArgumentType]


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("size", "shown"), [((64, 64), (256, 256)), ((96, 64), (288, 192)), ((40, 72), (160, 288))])
def test_a_small_picture_is_enlarged_by_a_whole_number(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    path = tmp_path / "1.png"
    save_png(Image.new("RGB", size, "red"), path, recipe())
    before = path.read_bytes()

    data, suffix = attachments.picture(path)

    posted = Image.open(io.BytesIO(data))
    assert suffix == ".png"
    assert posted.size == shown
    assert from_parameters(posted.info["parameters"]).prompt == "a réd apple"
    assert "trainedAlgorithmicMedia" in posted.info["XML:com.adobe.xmp"]
    assert path.read_bytes() == before, "the picture on disk stays as it is"


def test_a_picture_that_can_be_seen_is_posted_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    save_png(noise(256, 100), path, recipe())
    assert attachments.picture(path) == (path.read_bytes(), ".png")


def test_a_picture_over_the_limit_becomes_a_webp_with_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    save_png(noise(300, 300), path, recipe())
    limit = path.stat().st_size // 3

    data, suffix = attachments.picture(path, limit=limit)

    posted = Image.open(io.BytesIO(data))
    assert (suffix, posted.format, posted.size) == (".webp", "WEBP", (300, 300))
    assert len(data) <= limit
    comment: bytes = posted.getexif().get_ifd(0x8769)[0x9286]
    assert from_parameters(comment.removeprefix(b"UNICODE\0").decode("utf-16-be")).seed == 5
    assert b"trainedAlgorithmicMedia" in posted.info["xmp"]


def test_a_picture_far_over_the_limit_is_made_smaller_rather_than_refused(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    save_png(noise(1200, 1200), path, recipe())
    data, _ = attachments.picture(path, limit=120_000)
    assert len(data) <= 120_000


def test_the_files_of_one_request_share_discords_limit() -> None:
    limit = attachments.file_limit(10 * 2**20, 4)
    assert 4 * limit < 25 * 2**20
    assert attachments.file_limit(10 * 2**20, 1) == 10 * 2**20


def test_a_preview_is_enlarged_and_light(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    noise(64, 64).save(path)
    data = attachments.preview(path)
    shown = Image.open(io.BytesIO(data))
    assert (shown.format, shown.size) == ("WEBP", (256, 256))


def test_a_preview_that_the_worker_has_removed_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        attachments.preview(tmp_path / "gone.webp")
