"""Our loop against the unmodified diffusers pipelines: same latents, same number of network evaluations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image

from generation.limits import SCHEDULERS
from generation.model import LoadedModel, load_model
from generation.request import ImageRequest
from generation.solver import Unbatchable, solver_table
from tests.generation.stock import (
    Evaluations,
    assert_same,
    compare,
    loaded,
    ours,
    pipeline_for,
    stock,
    theirs,
    together,
)

SEED = 1234
STEPS = 6


@pytest.fixture
def start_image(tmp_path: Path) -> Path:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 90)], -1)
    path = tmp_path / "start.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def request(start_image: Path | None = None, **changes: object) -> ImageRequest:
    from_image = {} if start_image is None else {"init_image": str(start_image), "strength": 0.7}
    usual = {"prompt": "a red apple on the left", "num_inference_steps": STEPS, "seed": SEED}
    return ImageRequest(**{**usual, **from_image, **changes})


both_ways = pytest.mark.parametrize("from_image", [False, True], ids=["txt2img", "img2img"])

TYPICAL = (None, "ddim", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "heun", "unipc", "lms")
"""One sampler of each kind. All of them meet the first family in `make test`, and every family in `make soak`."""
typical_first = pytest.mark.parametrize(
    "scheduler",
    [
        None if name is None else pytest.param(name, marks=() if name in TYPICAL else pytest.mark.soak)
        for name in (None, *SCHEDULERS)
    ],
)


@pytest.mark.parametrize("guidance_scale", [7.5, pytest.param(1.0, marks=pytest.mark.soak)])
@both_ways
@pytest.mark.parametrize("scheduler", [None, *SCHEDULERS])
def test_latents_equal_the_stock_pipeline(
    tiny_model: LoadedModel, start_image: Path, scheduler: str | None, from_image: bool, guidance_scale: float
) -> None:
    asked = {"negative_prompt": "blue fox", "guidance_scale": guidance_scale, "scheduler": scheduler}
    compare(tiny_model, request(start_image if from_image else None, **asked))


@pytest.mark.parametrize("guidance_scale", [7.5, pytest.param(1.0, marks=pytest.mark.soak)])
@both_ways
@typical_first
def test_the_larger_family_equals_its_pipelines(
    tiny_xl_model: LoadedModel, start_image: Path, scheduler: str | None, from_image: bool, guidance_scale: float
) -> None:
    """Two text encoders, pooled embedding, size conditioning; an empty negative prompt is all zeros there."""
    asked = {"guidance_scale": guidance_scale, "scheduler": scheduler, "count": 2, "num_inference_steps": 4}
    compare(tiny_xl_model, request(start_image if from_image else None, **asked))
    if scheduler in (None, "ddim"):
        compare(tiny_xl_model, request(start_image if from_image else None, negative_prompt="blue fox", **asked))


@both_ways
@typical_first
def test_second_generation_with_v_prediction(
    tiny_sd2_model: LoadedModel, start_image: Path, scheduler: str | None, from_image: bool
) -> None:
    compare(tiny_sd2_model, request(start_image if from_image else None, scheduler=scheduler))


@pytest.mark.parametrize("clip_skip", [0, 1, 2])
@pytest.mark.parametrize("name", ["tiny_model", "tiny_sd2_model", "tiny_xl_model"])
def test_clip_skip(name: str, clip_skip: int, request_fixture: pytest.FixtureRequest) -> None:
    compare(request_fixture.getfixturevalue(name), request(clip_skip=clip_skip, negative_prompt="car"))


@pytest.fixture
def request_fixture(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    return request


@pytest.fixture(scope="module")
def outdated_model(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A scheduler's configuration that leaves out what the stock pipeline then corrects."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("outdated") / "model"))
    path = folder / "scheduler/scheduler_config.json"
    config = json.loads(path.read_text())
    del config["steps_offset"], config["clip_sample"]
    path.write_text(json.dumps(config))
    return load_model(str(folder), device="cpu")


@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler:FutureWarning")
@both_ways
@typical_first
def test_an_outdated_scheduler_configuration(
    outdated_model: LoadedModel, start_image: Path, scheduler: str | None, from_image: bool
) -> None:
    asked = request(start_image if from_image else None, scheduler=scheduler)
    asked = asked.with_defaults(outdated_model.info.defaults)
    if scheduler is None:  # as it is loaded, too
        kind = StableDiffusionImg2ImgPipeline if from_image else StableDiffusionPipeline
        expected, _ = theirs(loaded(kind, Path(outdated_model.info.source)), asked)
        assert_same(ours(outdated_model, asked)[0], expected)
    compare(outdated_model, asked)


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpmpp_2m"])
@both_ways
def test_several_images_of_several_prompts(
    tiny_model: LoadedModel, start_image: Path, scheduler: str, from_image: bool
) -> None:
    """Each picture has its own generator, and ancestral samplers draw from it at every step."""
    prompts = ["a red apple", "a big blue house"]
    asked = request(start_image if from_image else None, prompt=prompts, count=2, scheduler=scheduler)
    compare(tiny_model, asked)


@pytest.mark.parametrize("scheduler", [None, "euler", "dpmpp_2m"])
@both_ways
def test_v_prediction_and_a_tiny_autoencoder(
    tiny_v_model: LoadedModel, start_image: Path, scheduler: str | None, from_image: bool
) -> None:
    compare(tiny_v_model, request(start_image if from_image else None, scheduler=scheduler))


def test_a_prompt_longer_than_the_encoder_reads(tiny_model: LoadedModel) -> None:
    compare(tiny_model, request(prompt="apple " * 40, num_inference_steps=3))


def test_another_size_than_the_models_own(tiny_model: LoadedModel, tiny_xl_model: LoadedModel) -> None:
    for model in (tiny_model, tiny_xl_model):
        asked = request(width=128, height=64)
        compare(model, asked)
        assert ours(model, asked)[1][0].size == (128, 64)


# ── in company ──


@pytest.mark.parametrize(
    ("name", "pause"),
    [
        ("tiny_model", 0),
        ("tiny_xl_model", 3),
        pytest.param("tiny_model", 3, marks=pytest.mark.soak),
        pytest.param("tiny_xl_model", 0, marks=pytest.mark.soak),
    ],
)
def test_every_sampler_in_one_mixed_batch(
    name: str, pause: int, start_image: Path, request_fixture: pytest.FixtureRequest
) -> None:
    """All samplers at once, other prompts, scales, steps, counts, some from an image; arriving together or apart."""
    model: LoadedModel = request_fixture.getfixturevalue(name)
    requests: dict[str, ImageRequest] = {}
    for index, scheduler in enumerate([None, *SCHEDULERS]):
        image = start_image if index % 3 == 1 else None
        asked = request(
            image,
            scheduler=scheduler,
            prompt=["a red apple", "a big fox and the house"][index % 2],
            negative_prompt=["", "car"][index % 2],
            guidance_scale=[7.5, 1.0, 3.0][index % 3],
            num_inference_steps=4 + index % 4,
            count=1 + index % 2,
            seed=SEED + 10 * index,
        )
        requests[str(scheduler)] = asked.with_defaults(model.info.defaults)
    latents, _ = together(model, requests, pause)
    for key, asked in requests.items():
        expected, _ = theirs(pipeline_for(model, asked), asked)
        assert_same(latents[key], expected)


def test_other_sizes_in_company(tiny_model: LoadedModel) -> None:
    requests = {
        str(width): request(width=width, height=64, scheduler=scheduler).with_defaults(tiny_model.info.defaults)
        for width, scheduler in ((64, "ddim"), (96, "heun"), (128, "euler_a"))
    }
    latents, pictures = together(tiny_model, requests, pause=2)
    for key, asked in requests.items():
        assert_same(latents[key], theirs(pipeline_for(tiny_model, asked), asked)[0])
        assert pictures[key][0].size == (int(key), 64)


@pytest.fixture(scope="module")
def thresholding_model(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Its own sampler clips by quantiles at every step: no linear combination says that."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("thresholding") / "model"))
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"thresholding": True}))
    return load_model(str(folder), device="cpu")


def test_a_sampler_that_is_not_affine_takes_its_own_steps_in_the_same_batch(
    thresholding_model: LoadedModel, start_image: Path
) -> None:
    model = thresholding_model
    assert isinstance(solver_table(model.scheduler_config, None, STEPS, None), Unbatchable)
    requests = {
        "own": request(count=2),
        "own from an image": request(start_image, guidance_scale=1.0),
        "unipc": request(scheduler="unipc"),
    }
    requests = {key: one.with_defaults(model.info.defaults) for key, one in requests.items()}
    with Evaluations(model.unet) as evaluations:
        latents, _ = together(model, requests)
    assert evaluations.rows[0] == 2 * 2 + 1 + 2
    for key, asked in requests.items():
        assert_same(latents[key], theirs(pipeline_for(model, asked), asked)[0])


# ── pictures ──


@pytest.mark.parametrize("name", ["tiny_model", "tiny_v_model", "tiny_sd2_model", "tiny_xl_model"])
def test_pictures_equal_the_stock_pipelines(name: str, request_fixture: pytest.FixtureRequest) -> None:
    """The decoder's scaling and the rounding to bytes, too."""
    model: LoadedModel = request_fixture.getfixturevalue(name)
    asked = request(num_inference_steps=3, count=2).with_defaults(model.info.defaults)
    expected, _ = theirs(pipeline_for(model, asked), asked, output_type="pil")
    _, pictures, _ = ours(model, asked)
    for mine, other in zip(pictures, expected, strict=True):
        difference = np.abs(np.asarray(mine, dtype=int) - np.asarray(other, dtype=int))
        assert difference.max() <= 1  # a value on the edge between two bytes may fall either way


def test_the_bundled_model_equals_its_pipeline() -> None:
    model = load_model("bundled", device="cpu")
    folder = Path(__file__).parents[2] / "generation" / "bundled"
    asked = request(prompt="a red apple", num_inference_steps=5).with_defaults(model.info.defaults)
    company = request(prompt="a fox on green", scheduler="dpmpp_2m", guidance_scale=3.0)
    requests = {"asked": asked, "company": company.with_defaults(model.info.defaults)}
    latents, _ = together(model, requests)
    for key, one in requests.items():
        expected, _ = theirs(stock(StableDiffusionPipeline, folder, one.scheduler), one)
        assert_same(latents[key], expected)
