"""Our loop against the unmodified diffusers pipelines: same latents, same number of network evaluations."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image

from generation.drawing import Drawing
from generation.engine import Engine
from generation.events import Finished, ImageReady
from generation.limits import SCHEDULERS
from generation.model import LoadedModel, load_model
from generation.request import ImageRequest

SEED = 1234
STEPS = 6
TOLERANCE = 1e-4

Pipeline = StableDiffusionPipeline | StableDiffusionImg2ImgPipeline


@pytest.fixture
def start_image(tmp_path: Path) -> Path:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 90)], -1)
    path = tmp_path / "start.png"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@cache
def loaded(kind: type[Pipeline], folder: Path) -> Pipeline:
    pipeline = kind.from_pretrained(folder, use_safetensors=True, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stock(kind: type[Pipeline], folder: Path, scheduler: str | None) -> Pipeline:
    """The unmodified pipeline, with a scheduler made as its documentation says."""
    pipeline = loaded(kind, folder)
    config = dict(DDIMScheduler.load_config(folder, subfolder="scheduler"))
    choice = SCHEDULERS[scheduler or "ddim"]
    own = getattr(diffusers, choice.class_name).from_config(config, **choice.options)
    return kind(**{**pipeline.components, "scheduler": own}, requires_safety_checker=False)


class Evaluations:
    """Counts the forward passes of a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.count = 0
        self.rows: list[int] = []
        self._handle = network.register_forward_pre_hook(self._on_forward)

    def _on_forward(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.count += 1
        self.rows.append(len(inputs[0]))

    def __enter__(self) -> Evaluations:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


def ours(model: LoadedModel, request: ImageRequest) -> tuple[torch.Tensor, list[Image.Image], Evaluations]:
    """Final latents, pictures and evaluations, drawn through the engine's public interface."""
    engine = Engine(model)
    engine.admit("ours", request)
    drawing: Drawing = engine._drawings["ours"]
    events = []
    with Evaluations(model.unet) as evaluations:
        while engine.busy:
            events += engine.step()
    assert isinstance(events[-1], Finished), events[-1]
    pictures = [event.image for event in events if isinstance(event, ImageReady)]
    return drawing.latents, pictures, evaluations


def theirs(
    pipeline: Pipeline, request: ImageRequest, image: Path | None, output_type: str = "latent"
) -> tuple[torch.Tensor, Evaluations]:
    generators = [torch.Generator().manual_seed(SEED + k) for k in range(request.total_images)]
    negative = [request.negative_prompt] * len(request.prompts)
    options = {"width": request.width, "height": request.height}
    if image is not None:
        options = {"image": Image.open(image), "strength": request.strength}
    with Evaluations(pipeline.unet) as evaluations:
        result = pipeline(
            prompt=request.prompts,
            negative_prompt=negative,
            guidance_scale=request.guidance_scale,
            num_inference_steps=request.num_inference_steps,
            num_images_per_prompt=request.count,
            generator=generators,
            output_type=output_type,
            **options,
        )
    return result.images, evaluations


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    error = (ours - theirs).abs().max() / theirs.abs().max()
    assert float(error) <= TOLERANCE


def compare(model: LoadedModel, folder: Path, request: ImageRequest, image: Path | None) -> None:
    kind = StableDiffusionPipeline if image is None else StableDiffusionImg2ImgPipeline
    expected, their_evaluations = theirs(stock(kind, folder, request.scheduler), request, image)
    latents, _, our_evaluations = ours(model, request)
    assert_same(latents, expected)
    assert our_evaluations.count == their_evaluations.count
    assert our_evaluations.rows == their_evaluations.rows


@pytest.mark.parametrize("guidance_scale", [7.5, 1.0])
@pytest.mark.parametrize("from_image", [False, True], ids=["txt2img", "img2img"])
@pytest.mark.parametrize("scheduler", [None, *SCHEDULERS])
def test_latents_equal_the_stock_pipeline(
    tiny_model: LoadedModel,
    tiny_folder: Path,
    start_image: Path,
    scheduler: str | None,
    from_image: bool,
    guidance_scale: float,
) -> None:
    request = ImageRequest(
        prompt="a red apple on the left",
        negative_prompt="blue fox",
        guidance_scale=guidance_scale,
        num_inference_steps=STEPS,
        seed=SEED,
        scheduler=scheduler,
        init_image=str(start_image) if from_image else None,
        strength=0.7 if from_image else None,
    )
    compare(tiny_model, tiny_folder, request, start_image if from_image else None)


@pytest.fixture(scope="module")
def outdated_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scheduler's configuration that leaves out what the stock pipeline then corrects."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path_factory.mktemp("outdated") / "model"))
    path = folder / "scheduler/scheduler_config.json"
    config = json.loads(path.read_text())
    del config["steps_offset"], config["clip_sample"]
    path.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def outdated_model(outdated_folder: Path) -> LoadedModel:
    return load_model(str(outdated_folder), device="cpu")


@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler:FutureWarning")
@pytest.mark.parametrize("from_image", [False, True], ids=["txt2img", "img2img"])
@pytest.mark.parametrize("scheduler", [None, *SCHEDULERS])
def test_an_outdated_scheduler_configuration(
    outdated_model: LoadedModel, outdated_folder: Path, start_image: Path, scheduler: str | None, from_image: bool
) -> None:
    request = ImageRequest(
        prompt="a red apple",
        num_inference_steps=STEPS,
        seed=SEED,
        scheduler=scheduler,
        init_image=str(start_image) if from_image else None,
        strength=0.7 if from_image else None,
    ).with_defaults(outdated_model.info.defaults)
    if scheduler is None:  # as it is loaded, too
        kind = StableDiffusionImg2ImgPipeline if from_image else StableDiffusionPipeline
        expected, _ = theirs(loaded(kind, outdated_folder), request, start_image if from_image else None)
        assert_same(ours(outdated_model, request)[0], expected)
    compare(outdated_model, outdated_folder, request, start_image if from_image else None)


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a", "dpmpp_2m"])
@pytest.mark.parametrize("from_image", [False, True], ids=["txt2img", "img2img"])
def test_several_images_of_several_prompts(
    tiny_model: LoadedModel, tiny_folder: Path, start_image: Path, scheduler: str, from_image: bool
) -> None:
    """Each picture has its own generator, and ancestral samplers draw from it at every step."""
    request = ImageRequest(
        prompt=["a red apple", "a big blue house"],
        negative_prompt="car",
        count=2,
        num_inference_steps=STEPS,
        seed=SEED,
        scheduler=scheduler,
        init_image=str(start_image) if from_image else None,
        strength=0.5 if from_image else None,
    )
    compare(tiny_model, tiny_folder, request, start_image if from_image else None)


@pytest.mark.parametrize("scheduler", [None, "euler", "dpmpp_2m"])
@pytest.mark.parametrize("from_image", [False, True], ids=["txt2img", "img2img"])
def test_v_prediction_and_a_tiny_autoencoder(
    tiny_v_model: LoadedModel, tiny_v_folder: Path, start_image: Path, scheduler: str | None, from_image: bool
) -> None:
    request = ImageRequest(
        prompt="a green car",
        num_inference_steps=STEPS,
        seed=SEED,
        scheduler=scheduler,
        init_image=str(start_image) if from_image else None,
    ).with_defaults(tiny_v_model.info.defaults)
    compare(tiny_v_model, tiny_v_folder, request, start_image if from_image else None)


def test_a_prompt_longer_than_the_encoder_reads(tiny_model: LoadedModel, tiny_folder: Path) -> None:
    request = ImageRequest(prompt="apple " * 40, num_inference_steps=3, seed=SEED)
    compare(tiny_model, tiny_folder, request, None)


def test_another_size_than_the_models_own(tiny_model: LoadedModel, tiny_folder: Path) -> None:
    request = ImageRequest(prompt="apple", num_inference_steps=3, seed=SEED, width=128, height=64)
    expected, _ = theirs(stock(StableDiffusionPipeline, tiny_folder, None), request, None)
    latents, pictures, _ = ours(tiny_model, request)
    assert_same(latents, expected)
    assert pictures[0].size == (128, 64)


@pytest.mark.parametrize("model_name", ["tiny_model", "tiny_v_model"])
def test_pictures_equal_the_stock_pipelines(model_name: str, request: pytest.FixtureRequest) -> None:
    """The decoder's scaling and the rounding to bytes, too."""
    model: LoadedModel = request.getfixturevalue(model_name)
    asked = ImageRequest(prompt="a red apple", num_inference_steps=3, seed=SEED, count=2)
    folder = Path(model.info.source)
    expected, _ = theirs(stock(StableDiffusionPipeline, folder, None), asked, None, output_type="pil")
    _, pictures, _ = ours(model, asked)
    for mine, other in zip(pictures, expected, strict=True):
        difference = np.abs(np.asarray(mine, dtype=int) - np.asarray(other, dtype=int))
        assert difference.max() <= 1  # a value on the edge between two bytes may fall either way
