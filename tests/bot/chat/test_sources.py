"""What a remix of somebody's file goes on from: its shape, and the recipe that it may carry."""

import io
import struct
import zlib
from pathlib import Path

import msgspec
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from bot.chat.requests import basis_of_any
from bot.chat.sources import Header, basis_of_file, header_of
from bot.worker.fake import FAKE_MODEL
from generation.recipe import Recipe, save_png
from generation.request import ModelDefaults, ModelInfo

RECIPE = Recipe(
    prompt="a lighthouse",
    negative_prompt="fog",
    guidance_scale=4.0,
    num_inference_steps=9,
    seed=5,
    width=64,
    height=64,
    scheduler="euler_a",
    model_name="fake",
    model_hash=FAKE_MODEL.hash,
    clip_skip=1,
)
LARGE = ModelDefaults(num_inference_steps=30, width=512, height=512, size_multiple=8)


def model(defaults: ModelDefaults = FAKE_MODEL.defaults) -> ModelInfo:
    return msgspec.structs.replace(FAKE_MODEL, defaults=defaults)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_of_nothing(width: int, height: int) -> bytes:
    """A PNG's header without pixels behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_recipe_comes_out_of_the_file_that_it_was_saved_in(tmp_path: Path) -> None:
    file = tmp_path / "lighthouse.png"
    save_png(Image.new("RGB", (64, 96)), file, RECIPE)
    header = header_of(file.read_bytes())
    assert header.size == (64, 96)
    assert header.recipe is not None
    assert (header.recipe.prompt, header.recipe.num_inference_steps) == ("a lighthouse", 9)


@pytest.mark.parametrize("text", ["", "only words", "Steps: many, Seed: x, Size: 1"])
def test_other_texts_are_no_recipe(text: str) -> None:
    info = PngInfo()
    info.add_text("parameters", text)
    assert header_of(encoded(Image.new("RGB", (20, 20)), "PNG", pnginfo=info)) == Header((20, 20), None)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_photo_that_lies_on_its_side_is_measured_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    assert header_of(encoded(Image.new("RGB", (90, 60)), kind, exif=exif)).size == (60, 90)
    assert header_of(encoded(Image.new("RGB", (90, 60)), kind)).size == (90, 60)


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a"], ids=["empty", "text", "png", "gif"])
def test_what_is_no_picture_says_nothing(data: bytes) -> None:
    assert header_of(data) == Header()


def test_pixels_are_not_decoded() -> None:
    assert header_of(png_of_nothing(9000, 9000)).size == (9000, 9000)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1000, 1000), (512, 512)),
        ((1000, 1040), (512, 512)),
        ((1200, 1800), (512, 768)),  # 2:3
        ((1500, 1000), (768, 512)),  # 3:2
        ((600, 1000), (384, 640)),  # 3:5
        ((1920, 1080), (640, 384)),  # 16:9 = 1.78 is nearer to 1.67 than to 1.5
        ((5000, 20), (640, 384)),
    ],
)
def test_the_nearest_of_the_sizes_that_are_offered(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert basis_of_file(Header(size), model(LARGE)).size == wanted


def test_without_a_model_or_a_size_nothing_is_said_about_it() -> None:
    assert basis_of_file(Header((90, 60)), None).size is None
    assert basis_of_file(Header(), model()).size is None


@pytest.mark.parametrize(("said", "asked"), [(0.0, 1), (1.0, 1), (5.5, 5.5), (99.0, 30)])
def test_what_a_models_own_file_says_of_guidance_can_be_asked_for(said: float, asked: float) -> None:
    """Fast models are made for no guidance, which their files write as 0 or 1. Here it is 1 to 30."""
    assert basis_of_any(ModelDefaults(guidance_scale=said)).guidance_scale == asked


def test_numbers_belong_to_the_model_that_they_were_chosen_for() -> None:
    same = basis_of_file(Header(None, RECIPE), model())
    assert (same.prompt, same.negative_prompt) == ("a lighthouse", "fog")
    assert (same.guidance_scale, same.num_inference_steps, same.scheduler, same.clip_skip) == (4, 9, "euler_a", 1)
    for other_hash in ("f" * 10, "", "0"):
        other = basis_of_file(Header(None, msgspec.structs.replace(RECIPE, model_hash=other_hash)), model())
        assert (other.prompt, other.negative_prompt) == ("a lighthouse", "fog")
        assert (other.guidance_scale, other.num_inference_steps, other.scheduler) == (7.5, None, None)


@pytest.mark.parametrize(
    "forged",
    [
        {"guidance_scale": float("nan")},
        {"guidance_scale": 99.0},
        {"num_inference_steps": 100_000},
        {"num_inference_steps": -1},
        {"clip_skip": 99},
    ],
    ids=str,
)
def test_forged_numbers_are_left_out(forged: dict[str, float]) -> None:
    basis = basis_of_file(Header(None, msgspec.structs.replace(RECIPE, **forged)), model())
    assert (basis.prompt, basis.guidance_scale, basis.num_inference_steps) == ("a lighthouse", 7.5, None)


def test_words_that_are_too_long_are_left_out() -> None:
    long = msgspec.structs.replace(RECIPE, prompt="x" * 2001, negative_prompt="y" * 2001)
    basis = basis_of_file(Header(None, long), model())
    assert (basis.prompt, basis.negative_prompt) == ("", "")
