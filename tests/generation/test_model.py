from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from generation.generate import generate
from generation.limits import SCHEDULERS
from generation.model import LoadedModel, ModelError, load_model, weights_hash
from generation.request import ImageRequest
from generation.schedulers import build_scheduler

UNET_WEIGHTS = Path("unet/diffusion_pytorch_model.safetensors")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def refused(source: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(str(source), device="cpu")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(Path(source).parent.absolute()) not in sentence, "where things lie here is nobody's business"
    return sentence


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_what_is_known_about_a_model(tiny_model: LoadedModel, tiny_v_model: LoadedModel, tiny_folder: Path) -> None:
    info = tiny_model.info
    assert (info.name, info.source) == (tiny_folder.name, str(tiny_folder))
    assert (info.family, info.prediction_type, info.scheduler) == ("stable-diffusion", "epsilon", "ddim")
    assert (info.defaults.width, info.defaults.height, info.defaults.size_multiple) == (64, 64, 16)
    assert info.defaults.max_pixels == 128 * 128
    assert len(info.hash) == 64
    assert (info.device, info.dtype) == ("cpu", "float32")
    parts = (tiny_model.unet, tiny_model.vae, *tiny_model.text_encoders)
    assert info.parameters == sum(weight.numel() for part in parts for weight in part.parameters())
    assert tiny_model.vae_scale_factor == 8
    assert tiny_v_model.vae_scale_factor == 4
    assert tiny_v_model.info.defaults.size_multiple == 8
    assert tiny_v_model.info.prediction_type == "v_prediction"
    assert isinstance(tiny_v_model.vae, AutoencoderTiny)


def test_parts_are_frozen_and_in_evaluation_mode(tiny_model: LoadedModel) -> None:
    for part in (tiny_model.unet, tiny_model.vae, *tiny_model.text_encoders):
        assert not part.training
        assert not any(weight.requires_grad for weight in part.parameters())
        assert not any(weight.is_inference() for weight in part.parameters())


def test_progress_is_told(tiny_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[str, float | None]] = []
    load_model(str(tiny_folder), device="cpu", report=lambda text, fraction: told.append((text, fraction)))
    assert told[0] == ("reading the text encoder", 0.0)
    assert told[-1] == ("ready", 1.0)
    output = capfd.readouterr()
    assert (output.out, output.err) == ("", "")  # no bars of other libraries in a worker's log


def test_atelier_json_gives_defaults(folder: Path) -> None:
    (folder / "atelier.json").write_text('{"name": "Tiny", "num_inference_steps": 9, "width": 128, "other": [1]}')
    info = load_model(str(folder), device="cpu").info
    assert info.name == "Tiny"
    assert (info.defaults.num_inference_steps, info.defaults.width, info.defaults.height) == (9, 128, 64)
    assert info.defaults.guidance_scale == 7.5


def test_a_wrong_atelier_json(folder: Path) -> None:
    (folder / "atelier.json").write_text('{"width": "wide"}')
    assert "atelier.json can't be read" in refused(folder)


def test_the_hash_is_of_the_weights_only(folder: Path, tiny_model: LoadedModel) -> None:
    (folder / "atelier.json").write_text('{"name": "renamed"}')
    assert weights_hash(folder) == tiny_model.info.hash
    weights = load_file(folder / UNET_WEIGHTS)
    next(iter(weights.values())).add_(1)
    save_file(weights, folder / UNET_WEIGHTS)
    assert weights_hash(folder) != tiny_model.info.hash


def test_half_precision_files_are_taken_where_they_are_alone(folder: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        for path in (folder / part).glob("*.safetensors"):
            half = {name: tensor.half() for name, tensor in load_file(path).items()}
            save_file(half, path.with_name(f"{path.stem}.fp16.safetensors"), metadata={"format": "pt"})
            path.unlink()
    model = load_model(str(folder), device="cpu")
    assert model.unet.dtype == torch.float32
    assert generate(model, ImageRequest(prompt="apple", seed=1, num_inference_steps=1))


def test_sharded_weights(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    (folder / UNET_WEIGHTS).unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="100KB")
    assert len(list((folder / "unet").glob("*-of-*.safetensors"))) > 1
    capfd.readouterr()
    assert load_model(str(folder), device="cpu").unet.num_parameters() == unet.num_parameters()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_draws(tiny_folder: Path, dtype: str) -> None:
    model = load_model(str(tiny_folder), device="cpu", dtype=dtype)
    assert model.info.dtype == dtype
    assert model.unet.dtype == getattr(torch, dtype)
    for scheduler in ("ddim", "dpmpp_2m"):
        request = ImageRequest(prompt="apple", seed=1, num_inference_steps=3, scheduler=scheduler)
        assert generate(model, request)[0].image.size == (64, 64)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert refused("/nowhere/at/all").startswith("There is no model at “all”; give “bundled”")
    assert "There is no model at" in refused("./nowhere")
    assert "it has no model_index.json" in refused(tmp_path)
    single = tmp_path / "model.safetensors"
    single.write_bytes(b"")
    assert "can't be read as a safetensors file" in refused(single)


@pytest.mark.parametrize(
    "file", ["unet/config.json", "vae/config.json", "text_encoder/config.json", "tokenizer/tokenizer_config.json"]
)
def test_what_libraries_say_is_told_without_where(folder: Path, file: str) -> None:
    (folder / file).write_text("{")
    assert folder.name in refused(folder)


def test_the_log_keeps_where_a_model_lies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "generation.model"):
        refused(tmp_path / "nothing")
    assert f"loading {tmp_path}/nothing" in caplog.messages


def test_the_place_it_stands_in_has_a_name(
    tiny_folder: Path, tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_folder)
    assert load_model(".", device="cpu").info.name == tiny_model.info.name


def test_another_kind_of_pipeline(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="StableDiffusion3Pipeline", unet=None)
    kind = "is not a Stable Diffusion 1.x, 2.x or XL model (StableDiffusion3Pipeline)"
    assert refused(folder) == f"“{folder.name}” {kind}; such models can't be drawn with yet."


def test_a_part_of_another_kind(folder: Path) -> None:
    edit(folder / "model_index.json", vae=["diffusers", "AutoencoderDC"])
    assert "(StableDiffusionPipeline) is not of a kind that can be drawn with: its vae is AutoencoderDC" in refused(
        folder
    )


@pytest.mark.parametrize(
    "inputs",
    [
        {"class_embed_type": "timestep"},
        {"addition_embed_type": "text", "addition_embed_type_num_heads": 2, "encoder_hid_dim": None},
    ],
    ids=lambda inputs: next(iter(inputs)),
)
def test_a_unet_that_needs_more_inputs(folder: Path, inputs: dict[str, object]) -> None:
    """Without what they were trained with, such models would draw something else."""
    shutil.rmtree(folder / "unet")
    size = {"sample_size": 8, "block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    unet = UNet2DConditionModel(**size, **blocks, attention_head_dim=2, cross_attention_dim=16, **inputs)
    unet.save_pretrained(folder / "unet")
    name = next(iter(inputs))
    what = f"its UNet needs inputs beside the time and the text ({name})"
    assert refused(folder) == f"“{folder.name}” can't be drawn with: {what}."


def test_a_part_that_is_missing(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    assert "is not complete: vae/ is missing" in refused(folder)


def test_pickles_are_refused_by_name(folder: Path) -> None:
    (folder / UNET_WEIGHTS).rename(folder / "unet/diffusion_pytorch_model.bin")
    sentence = refused(folder)
    assert "unet/diffusion_pytorch_model.bin" in sentence
    assert "is a pickle" in sentence


def test_a_pickle_beside_safetensors_is_never_opened(folder: Path) -> None:
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(b"not even a pickle")
    assert load_model(str(folder), device="cpu")


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"\xff" * 64])
def test_weights_that_are_garbage(folder: Path, content: bytes) -> None:
    (folder / UNET_WEIGHTS).write_bytes(content)
    assert refused(folder).startswith(f"The unet of “{folder.name}” can't be loaded: ")


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_weights_that_are_not_all_there(folder: Path, part: str) -> None:
    """Otherwise the libraries would fill them in at random and only mention it."""
    path = folder / f"{part}.safetensors"
    weights = load_file(path)
    lost = sorted(weights)[-1]
    del weights[lost]
    save_file(weights, path, metadata={"format": "pt"})
    sentence = refused(folder)
    assert "lack" in sentence or "can't be loaded" in sentence
    assert lost.rpartition(".")[2] in sentence


def test_cut_off_weights(folder: Path) -> None:
    content = (folder / UNET_WEIGHTS).read_bytes()
    (folder / UNET_WEIGHTS).write_bytes(content[: len(content) // 2])
    assert "can't be loaded" in refused(folder)


def test_an_inpainting_model_is_not_text_to_image(folder: Path) -> None:
    edit(folder / "vae/config.json", latent_channels=9)
    assert "can't be loaded" in refused(folder) or "is not a text-to-image model" in refused(folder)


def test_devices_and_dtypes_that_are_not_there(tiny_folder: Path) -> None:
    with pytest.raises(ModelError, match="torch can't use the device “warp”"):
        load_model(str(tiny_folder), device="warp")
    with pytest.raises(ModelError, match="dtype must be auto, float32, float16, bfloat16, not “int8”"):
        load_model(str(tiny_folder), device="cpu", dtype="int8")


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_json_that_is_none(folder: Path, content: str) -> None:
    (folder / "model_index.json").write_text(content, encoding="latin-1")
    assert refused(folder).startswith(f"model_index.json of “{folder.name}” can't be read: ")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_model_may_come_with_any_scheduler(folder: Path, name: str) -> None:
    """As diffusers saves it: DPM-Solver's configuration holds `-Infinity`, which is not quite JSON."""
    config = json.loads((folder / "scheduler/scheduler_config.json").read_text())
    build_scheduler(config, name).save_pretrained(folder / "scheduler")  # type: ignore[attr-defined]
    model = load_model(str(folder), device="cpu")
    assert model.info.scheduler == name
    assert generate(model, ImageRequest(prompt="apple", seed=1, num_inference_steps=2))[0].recipe.scheduler == name
