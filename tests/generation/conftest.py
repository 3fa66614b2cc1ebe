"""Tiny models with random weights, one of each family, saved as folders that both we and diffusers load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from generation.model import LoadedModel, load_model

TOKENS = 16
WORDS = [
    "a",
    "red",
    "green",
    "blue",
    "apple",
    "fox",
    "house",
    "on",
    "the",
    "left",
    "of",
    "big",
    "small",
    "and",
    "car",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """diffusers' schedulers hand torch tensors to NumPy; torch 2.13 and NumPy 2.4 disagree on how. Not ours."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"))


def write_tokenizer(folder: Path, *, pad_token: str = "<|endoftext|>") -> None:
    """A byte-pair vocabulary that knows single letters, and the words above as one token each."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,.<>|-'!?"
    merges: list[tuple[str, str]] = []
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = parts[0], parts[1]
            if pair not in merges:
                merges.append(pair)
                pieces.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    vocabulary["<|startoftext|>"] = len(vocabulary)
    vocabulary["<|endoftext|>"] = len(vocabulary)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS, pad_token=pad_token)
    tokenizer.save_pretrained(folder)


def save_tiny_model(
    folder: Path, *, prediction_type: str = "epsilon", tiny_vae: bool = False, spacing: str = "leading"
) -> Path:
    """The folder layout of diffusers: 64×64 pictures, factor 8 (AutoencoderKL) or 4 (AutoencoderTiny)."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(7)
    write_tokenizer(folder / "tokenizer")
    vocabulary_size = len(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary_size,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            bos_token_id=vocabulary_size - 2,
            eos_token_id=vocabulary_size - 1,
            pad_token_id=vocabulary_size - 1,
        )
    ).save_pretrained(folder / "text_encoder")
    UNet2DConditionModel(
        sample_size=16 if tiny_vae else 8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ).save_pretrained(folder / "unet")
    if tiny_vae:
        vae: AutoencoderTiny | AutoencoderKL = AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
            scaling_factor=1.3,
        )
    else:
        vae = tiny_kl_vae()
    vae.save_pretrained(folder / "vae")
    DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction_type,
        timestep_spacing=spacing,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", type(vae).__name__],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    torch.set_rng_state(generator_state)
    return folder


def text_config(folder: Path, **values: object) -> CLIPTextConfig:
    """Of a tiny text encoder that goes with the tokenizer in `folder`."""
    size = len(CLIPTokenizer.from_pretrained(folder))
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    ids = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    return CLIPTextConfig(**{**shape, **ids, "vocab_size": size, "max_position_embeddings": TOKENS, **values})


def tiny_kl_vae(**values: object) -> AutoencoderKL:
    """Factor 8, four latent channels."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **values,
    )


def save_tiny_sd2_model(folder: Path) -> Path:
    """As Stable Diffusion 2.1: v-prediction, OpenCLIP's text encoder, heads of one width, linear projections."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(17)
    write_tokenizer(folder / "tokenizer", pad_token="!")
    CLIPTextModel(text_config(folder / "tokenizer", hidden_act="gelu")).save_pretrained(folder / "text_encoder")
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=(2, 4),
        cross_attention_dim=16,
        use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(folder / "unet")
    tiny_kl_vae().save_pretrained(folder / "vae")
    DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    torch.set_rng_state(generator_state)
    return folder


def save_tiny_xl_model(folder: Path, *, force_zeros: bool = True) -> Path:
    """As Stable Diffusion XL base: two text encoders of different widths, a pooled embedding, size conditioning."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(27)
    write_tokenizer(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer_2", pad_token="!")
    # As published: an end token of 2 makes transformers pool at the largest id instead of looking for the token.
    CLIPTextModel(text_config(folder / "tokenizer", eos_token_id=2)).save_pretrained(folder / "text_encoder")
    second = {"hidden_size": 24, "hidden_act": "gelu", "projection_dim": 20, "eos_token_id": 2}
    CLIPTextModelWithProjection(text_config(folder / "tokenizer_2", **second)).save_pretrained(
        folder / "text_encoder_2"
    )
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=(2, 4),
        cross_attention_dim=16 + 24,
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 20,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ).save_pretrained(folder / "unet")
    tiny_kl_vae(scaling_factor=0.13025).save_pretrained(folder / "vae")
    EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        timestep_spacing="leading",
    ).save_pretrained(folder / "scheduler")
    # The published configuration keeps what other classes read: it was DDIM's once.
    path = folder / "scheduler/scheduler_config.json"
    left_over = {"clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | left_over))
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": force_zeros,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    torch.set_rng_state(generator_state)
    return folder


def add_safety_checker(folder: Path, threshold: float) -> None:
    """Of a random network: cosines lie in -1 to 1, so -2 as the threshold flags everything and 2 nothing."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(8)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**size, "vocab_size": 8, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {**size, "image_size": 32, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    torch.nn.init.normal_(checker.concept_embeds)
    torch.nn.init.constant_(checker.concept_embeds_weights, threshold)
    checker.save_pretrained(folder / "safety_checker")
    # As Stable Diffusion 1.x writes it, in the terms of older transformers.
    extractor = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 32, "crop_size": 32, "resample": 3}
    (folder / "feature_extractor").mkdir()
    (folder / "feature_extractor/preprocessor_config.json").write_text(json.dumps(extractor))
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPFeatureExtractor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    torch.set_rng_state(generator_state)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose by being split, and the figures stay the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AutoencoderKL, epsilon prediction: as Stable Diffusion 1.5."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny_v_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AutoencoderTiny, v-prediction, trailing timesteps: as the bundled model."""
    folder = tmp_path_factory.mktemp("tiny-v-model")
    return save_tiny_model(folder, prediction_type="v_prediction", tiny_vae=True, spacing="trailing")


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path) -> LoadedModel:
    return load_model(str(tiny_folder), device="cpu")


@pytest.fixture(scope="session")
def tiny_v_model(tiny_v_folder: Path) -> LoadedModel:
    return load_model(str(tiny_v_folder), device="cpu")


@pytest.fixture(scope="session")
def tiny_sd2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd2_model(tmp_path_factory.mktemp("tiny-sd2-model"))


@pytest.fixture(scope="session")
def tiny_sd2_model(tiny_sd2_folder: Path) -> LoadedModel:
    return load_model(str(tiny_sd2_folder), device="cpu")


@pytest.fixture(scope="session")
def tiny_xl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_xl_model(tmp_path_factory.mktemp("tiny-xl-model"))


@pytest.fixture(scope="session")
def tiny_xl_model(tiny_xl_folder: Path) -> LoadedModel:
    return load_model(str(tiny_xl_folder), device="cpu")


@pytest.fixture
def checked_folder(tiny_folder: Path, tmp_path: Path) -> Callable[[float], Path]:
    """A copy of the model, to damage, that ships a safety checker with the given threshold."""

    def make(threshold: float) -> Path:
        folder = Path(shutil.copytree(tiny_folder, tmp_path / "checked-model"))
        add_safety_checker(folder, threshold)
        return folder

    return make
