from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from generation import limits
from generation.limits import SCHEDULERS
from generation.recipe import (
    ConceptUsed,
    Recipe,
    RecipeUnreadable,
    from_parameters,
    one_line,
    save_png,
    software_version,
    to_parameters,
)
from generation.request import ImageRequest

RECIPE = Recipe(
    prompt="a red apple, on the left",
    negative_prompt="blue",
    guidance_scale=7.5,
    num_inference_steps=20,
    seed=12345,
    width=64,
    height=48,
    scheduler="dpmpp_2m",
    model_name="tiny: one, two",
    model_hash="0123456789abcdef",
    strength=0.6,
    init_image_sha256="ffee",
    version="Atelier 1.0",
)

words = st.text(max_size=60).map(lambda text: ImageRequest(prompt="x" + text, seed=0).prompts[0])
recipes = st.builds(
    Recipe,
    prompt=words,
    negative_prompt=st.one_of(st.just(""), words),
    guidance_scale=st.floats(*limits.GUIDANCE_SCALE),
    num_inference_steps=st.integers(*limits.INFERENCE_STEPS),
    seed=st.integers(0, limits.SEED_MAX),
    width=st.integers(64, 2048),
    height=st.integers(64, 2048),
    scheduler=st.one_of(st.sampled_from(list(SCHEDULERS)), st.just("SomeScheduler")),
    model_name=words,
    model_hash=st.text("0123456789abcdef", min_size=10, max_size=10),
    strength=st.one_of(st.none(), st.floats(*limits.STRENGTH)),
    init_image_sha256=st.one_of(st.none(), st.text("0123456789abcdef", min_size=4)),
    clip_skip=st.one_of(st.none(), st.integers(*limits.CLIP_SKIP)),
    concepts=st.lists(
        st.builds(
            ConceptUsed,
            name=st.text("abc-019", min_size=1),
            weight=st.floats(*limits.CONCEPT_WEIGHT),
            sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        ),
        max_size=3,
    ),
    version=st.just("Atelier 0.1.0"),
)


@given(recipes)
def test_what_is_written_reads_back(recipe: Recipe) -> None:
    assert from_parameters(to_parameters(recipe)) == recipe


def test_the_text_that_other_programs_read() -> None:
    assert to_parameters(RECIPE).split("\n") == [
        "a red apple, on the left",
        "Negative prompt: blue",
        "Steps: 20, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 12345, Size: 64x48, Model hash: 0123456789, "
        'Model: "tiny: one, two", Denoising strength: 0.6, Init image hash: ffee, Version: Atelier 1.0',
    ]


def test_clip_skip_is_counted_as_others_do_and_concepts_are_named() -> None:
    """Others count the last layer too: what diffusers calls 1 is their 2."""
    used = [ConceptUsed(name="cat", weight=0.7, sha256="ab" * 32)]
    text = to_parameters(msgspec.structs.replace(RECIPE, clip_skip=1, concepts=used))
    assert "Clip skip: 2" in text
    assert f'Concepts: "cat:0.7:{"ab" * 32}"' in text
    assert from_parameters("x\nSteps: 1, Seed: 1, Size: 8x8, Clip skip: 2").clip_skip == 1


def test_reads_what_other_programs_write() -> None:
    recipe = from_parameters(
        "masterpiece, <lora:x:1>\nsecond line\nNegative prompt: bad\nworse\nSteps: 28, Sampler: Euler a, "
        "Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 512x768, Model hash: 6ce0161689, "
        'Model: v1-5-pruned, Lora hashes: "x: 1234", Version: v1.10.1'
    )
    assert recipe.prompt == "masterpiece, <lora:x:1>\nsecond line"
    assert recipe.negative_prompt == "bad\nworse"
    assert (recipe.scheduler, recipe.width, recipe.height) == ("euler_a", 512, 768)
    assert recipe.model_name == "v1-5-pruned"


@pytest.mark.parametrize("negative", ["", "blue"])
def test_a_prompt_that_looks_like_a_negative_one(negative: str) -> None:
    recipe = msgspec.structs.replace(
        RECIPE, prompt="Negative prompt: of a film", negative_prompt=negative, model_hash="0123456789"
    )
    assert from_parameters(to_parameters(recipe)) == recipe


def test_other_programs_leave_out_an_empty_prompt() -> None:
    recipe = from_parameters("Negative prompt: bad\nSteps: 28, Sampler: Euler a, Seed: 1, Size: 512x768, Version: v1")
    assert (recipe.prompt, recipe.negative_prompt) == ("", "bad")


@pytest.mark.parametrize("text", ["", "a cat", "a cat\nSteps: x, Seed: 1, Size: 1x1", "Steps: 5, Seed: 1, Size: 7"])
def test_text_that_is_no_recipe(text: str) -> None:
    with pytest.raises(RecipeUnreadable):
        from_parameters(text)


def test_one_line() -> None:
    assert one_line(RECIPE) == "20 steps · guidance 7.5 · seed 12345 · 64×48 · DPM++ 2M · strength 0.6"


def test_one_line_says_that_guidance_is_off() -> None:
    plain = Recipe(
        prompt="x",
        guidance_scale=1.0,
        num_inference_steps=1,
        seed=1,
        width=8,
        height=8,
        scheduler="Other",
        model_name="m",
        model_hash="h",
    )
    assert one_line(plain) == "1 step · guidance off · seed 1 · 8×8 · Other"


def test_a_png_carries_its_recipe_and_says_that_a_model_made_it(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    image = Image.new("RGB", (64, 48), "red")
    save_png(image, path, RECIPE)
    with Image.open(path) as read:
        read.load()
        assert read.tobytes() == image.tobytes()
        assert read.info["parameters"] == to_parameters(RECIPE)
        xmp: bytes = read.info["xmp"]
    (description,) = ElementTree.fromstring(xmp).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    said = {name.partition("}")[2]: value for name, value in description.attrib.items()}
    assert said["DigitalSourceType"].endswith("/digitalsourcetype/trainedAlgorithmicMedia")
    assert said["CreatorTool"] == "Atelier 1.0"


def test_a_prompt_in_any_script_survives_the_png(tmp_path: Path) -> None:
    recipe = from_parameters(to_parameters(RECIPE).replace("a red apple", "リンゴ 🍎 “яблоко”"))
    save_png(Image.new("RGB", (8, 8)), tmp_path / "x.png", recipe)
    with Image.open(tmp_path / "x.png") as read:
        assert from_parameters(read.info["parameters"]).prompt == "リンゴ 🍎 “яблоко”, on the left"


def test_a_failed_write_leaves_nothing_and_hurts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"before")
    broken = Image.new("F", (8, 8))  # PNG has no such mode: the encoder raises after the file is open
    with pytest.raises(OSError, match="cannot write mode F"):
        save_png(broken, path, RECIPE)
    assert path.read_bytes() == b"before"
    assert [left.name for left in tmp_path.iterdir()] == ["picture.png"]


def test_the_program_names_itself() -> None:
    assert software_version().startswith("Atelier")
