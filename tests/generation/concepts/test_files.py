"""Concept files that fit, and those that strangers send."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from generation.concepts.files import (
    ConceptRefused,
    LoraFile,
    MergedFile,
    TextualInversionFile,
    read_concept,
)
from generation.concepts.tensor_file import MAX_HEADER
from generation.model import LoadedModel
from tests.generation.concepts import writing

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
"""[16, 16] in the tiny model."""
STEM = f"lora_unet_{LAYER.replace('.', '_')}"
Tensors = dict[str, torch.Tensor]


def lora(down: tuple[int, ...] = (4, 16), up: tuple[int, ...] = (16, 4), stem: str = STEM) -> Tensors:
    return {f"{stem}.lora_down.weight": torch.ones(down), f"{stem}.lora_up.weight": torch.ones(up)}


# --- textual inversions -------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("shape", [(16,), (1, 16), (3, 16)])
def test_textual_inversion_as_diffusers_loads_it(
    tiny_folder: Path, tiny_model: LoadedModel, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    tensors = {"<cat.a>": torch.randn(shape, generator=torch.Generator().manual_seed(1))}
    path = writing.write(tmp_path / "learned_embeds.safetensors", tensors)
    file = read_concept(path, tiny_model)
    assert isinstance(file, TextualInversionFile)
    pipe = StableDiffusionPipeline.from_pretrained(tiny_folder, requires_safety_checker=False)
    known = len(pipe.tokenizer)
    pipe.load_textual_inversion(tmp_path, weight_name=path.name)
    rows = pipe.text_encoder.get_input_embeddings().weight[known:]
    assert torch.equal(file.vectors[0], rows)


def test_textual_inversion_of_a1111(tiny_model: LoadedModel, tmp_path: Path) -> None:
    vectors = torch.linspace(-1, 1, 32).view(2, 16).half()
    file = read_concept(writing.write(tmp_path / "a.safetensors", {"emb_params": vectors}), tiny_model)
    assert isinstance(file, TextualInversionFile)
    assert torch.equal(file.vectors[0], vectors.float())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("keys", [("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1")])
def test_textual_inversion_for_two_encoders(
    tiny_xl_folder: Path, tiny_xl_model: LoadedModel, tmp_path: Path, keys: tuple[str, str]
) -> None:
    tensors = {keys[0]: torch.linspace(0, 1, 32).view(2, 16), keys[1]: torch.linspace(0, 1, 48).view(2, 24)}
    file = read_concept(writing.write(tmp_path / "two.safetensors", tensors), tiny_xl_model)
    assert isinstance(file, TextualInversionFile)
    pipe: Any = StableDiffusionXLPipeline.from_pretrained(tiny_xl_folder)
    for vectors, key, suffix in zip(file.vectors, keys, ("", "_2"), strict=True):
        encoder, tokenizer = getattr(pipe, f"text_encoder{suffix}"), getattr(pipe, f"tokenizer{suffix}")
        known = len(tokenizer)
        pipe.load_textual_inversion(tensors[key], token=["<s0>", "<s1>"], text_encoder=encoder, tokenizer=tokenizer)
        assert torch.equal(vectors, encoder.get_input_embeddings().weight[known:])


# --- layers -------------------------------------------------------------------------------------------------------


def test_a_linear_layer_written_as_convolution_and_the_other_way(
    tiny_model: LoadedModel, tiny_xl_model: LoadedModel, tmp_path: Path
) -> None:
    """SD 1.x has 1×1 convolutions where SD 2.x and SDXL have linear layers."""
    as_convolution = writing.write(tmp_path / "c.safetensors", lora((4, 16, 1, 1), (16, 4, 1, 1)))
    file = read_concept(as_convolution, tiny_model)
    assert isinstance(file, LoraFile)
    assert (file.unet[LAYER].down.shape, file.unet[LAYER].up.shape) == ((4, 16), (16, 4))
    stem = "lora_unet_mid_block_attentions_0_proj_in"
    for path in (
        writing.write(tmp_path / "p.safetensors", lora(stem=stem)),
        writing.write(tmp_path / "q.safetensors", lora((4, 16, 1, 1), (16, 4, 1, 1), stem)),
    ):
        of_convolution, of_linear = read_concept(path, tiny_model), read_concept(path, tiny_xl_model)
        assert isinstance(of_convolution, LoraFile)
        assert isinstance(of_linear, LoraFile)
        layer = of_convolution.unet["mid_block.attentions.0.proj_in"]
        assert (layer.down.shape, layer.up.shape) == ((4, 16, 1, 1), (16, 4, 1, 1))
        assert of_linear.unet["mid_block.attentions.0.proj_in"].down.shape == (4, 16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_number_types(tiny_model: LoadedModel, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {key: values.to(dtype) for key, values in lora().items()} | {f"{STEM}.alpha": torch.tensor(2.0)}
    file = read_concept(writing.write(tmp_path / "n.safetensors", tensors), tiny_model)
    assert isinstance(file, LoraFile)
    assert file.unet[LAYER].down.dtype == (torch.float32 if dtype == torch.float64 else dtype)
    assert file.unet[LAYER].scale == 0.5


def test_the_hash_is_the_files(tiny_model: LoadedModel, tmp_path: Path) -> None:
    path = writing.write(tmp_path / "h.safetensors", lora())
    assert read_concept(path, tiny_model).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_read_outlives_the_file(tiny_model: LoadedModel, tmp_path: Path) -> None:
    path = writing.write(tmp_path / "short.safetensors", lora())
    file = read_concept(path, tiny_model)
    path.write_bytes(b"")
    assert isinstance(file, LoraFile)
    assert torch.equal(file.unet[LAYER].down, torch.ones(4, 16))


def test_rank_decides_what_shares_the_batch(tiny_model: LoadedModel, tmp_path: Path) -> None:
    shared = read_concept(writing.write(tmp_path / "s.safetensors", lora((128, 16), (16, 128))), tiny_model)
    merged = read_concept(writing.write(tmp_path / "m.safetensors", lora((129, 16), (16, 129))), tiny_model)
    assert isinstance(shared, LoraFile)
    assert shared.rank == 128
    assert isinstance(merged, MergedFile)


# --- refusals -----------------------------------------------------------------------------------------------------


def refusal(path: Path, model: LoadedModel) -> str:
    with pytest.raises(ConceptRefused) as caught:
        read_concept(path, model)
    sentence = str(caught.value)
    assert path.name in sentence
    assert str(path.parent) not in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("ending", [".bin", ".pt", ".ckpt", ".pth", ".PT", ".pkl"])
def test_pickles_are_refused_by_name(tiny_model: LoadedModel, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"concept{ending}"
    path.write_bytes(pickle.dumps({"a": 1}))
    assert "is a pickle" in refusal(path, tiny_model)


def test_other_endings(tiny_model: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "concept.zip"
    path.write_bytes(b"PK")
    assert "is not a .safetensors file" in refusal(path, tiny_model)
    assert "can't be read" in refusal(tmp_path / "missing.safetensors", tiny_model)
    (tmp_path / "folder.safetensors").mkdir()
    assert "can't be read" in refusal(tmp_path / "folder.safetensors", tiny_model)


def _pickled(path: Path) -> None:
    torch.save(lora(), path)


def _truncated(path: Path) -> None:
    writing.write(path, lora())
    path.write_bytes(path.read_bytes()[:-10])


def _cut_in_the_header(path: Path) -> None:
    writing.write(path, lora())
    path.write_bytes(path.read_bytes()[:40])


def _more_at_the_end(path: Path) -> None:
    writing.write(path, lora())
    path.write_bytes(path.read_bytes() + b"PK\x03\x04 another file")


def _no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def _header_of_a_gigabyte(path: Path) -> None:
    path.write_bytes((2**30).to_bytes(8, "little") + b"{" * 64)


def _longest_header_without_bytes(path: Path) -> None:
    path.write_bytes(MAX_HEADER.to_bytes(8, "little") + b"{}")


def _tensor_larger_than_the_file(path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,16]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)


@pytest.mark.parametrize(
    "make",
    [
        _pickled,
        _truncated,
        _cut_in_the_header,
        _more_at_the_end,
        _no_bytes,
        _header_of_a_gigabyte,
        _longest_header_without_bytes,
        _tensor_larger_than_the_file,
    ],
)
def test_what_is_no_safetensors_file(tiny_model: LoadedModel, tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "concept.safetensors"
    make(path)
    assert "no safetensors file" in refusal(path, tiny_model)


def test_no_tensors(tiny_model: LoadedModel, tmp_path: Path) -> None:
    assert "is empty" in refusal(writing.write(tmp_path / "e.safetensors", {}), tiny_model)


WRONG: list[tuple[str, Tensors, str]] = [
    ("transposed", lora((16, 4), (4, 16)), "don’t fit"),
    ("another width", lora((4, 24)), "don’t fit"),
    ("ranks that differ", lora((4, 16), (16, 3)), "don’t fit"),
    ("no rank", lora((0, 16), (16, 0)), "doesn’t fit"),
    ("a rank too large", lora((1025, 16), (16, 1025)), "1 to 1024"),
    ("a kernel on a linear layer", lora((4, 16, 3, 3), (16, 4, 1, 1)), "don’t fit"),
    ("half a layer", {f"{STEM}.lora_down.weight": torch.ones(4, 16), **lora(stem="lora_unet_conv_q")}, "fits no"),
    ("one half", {f"{STEM}.lora_up.weight": torch.ones(16, 4)}, "don't make a whole layer"),
    ("only an alpha", lora() | {"lora_unet_conv_in.alpha": torch.tensor(1.0)}, "don't make a whole layer"),
    ("no such layer", lora() | {"lora_unet_conv_in_2.alpha": torch.tensor(1.0)}, "“lora_unet_conv_in_2.alpha”"),
    ("another method", lora() | {"lora_unet_conv_in.oft_blocks": torch.ones(1)}, "“lora_unet_conv_in.oft_blocks”"),
    ("garbage", {"a": torch.ones(3), "b": torch.ones(3)}, "“a”, which fits no layer"),
    ("a LoRA of a norm", lora((1, 1), (1, 1), "lora_unet_conv_norm_out"), "don't make a whole layer"),
    (
        "a LoRA of an embedding",
        lora((4, 16), (62, 4), "lora_te_text_model_embeddings_token_embedding"),
        "don't make a whole layer",
    ),
    ("a layer twice", lora() | lora(stem=f"unet.{LAYER}"), "changes the same layer twice"),
    ("alpha of two numbers", lora() | {f"{STEM}.alpha": torch.ones(2)}, "an alpha is one number"),
    ("whole numbers", {key: values.int() for key, values in lora().items()}, "has I32 numbers"),
    ("eight bits", {key: values.to(torch.float8_e4m3fn) for key, values in lora().items()}, "has F8_E4M3 numbers"),
    ("NaN", lora() | {f"{STEM}.lora_up.weight": torch.full((16, 4), torch.nan)}, "has NaN or infinite numbers"),
    ("infinity", lora() | {f"{STEM}.alpha": torch.tensor(torch.inf)}, "has NaN or infinite numbers"),
    ("too large in float64", {k: v.double() * 1e300 for k, v in lora().items()}, "has NaN or infinite numbers"),
    ("NaN in a word", {"<cat>": torch.full((16,), torch.nan)}, "has NaN or infinite numbers"),
    ("a word of another width", {"<cat>": torch.ones(17)}, "word vectors are [n, 16]"),
    ("too many words", {"<cat>": torch.ones(15, 16)}, "1 to 14 are allowed"),
    ("no words", {"<cat>": torch.ones(0, 16)}, "1 to 14 are allowed"),
    ("a word of no dimension", {"<cat>": torch.tensor(1.0)}, "word vectors are [n, 16]"),
    ("magnitude of another length", lora() | {f"{STEM}.dora_scale": torch.ones(15, 1)}, "doesn’t fit"),
    ("Kronecker of another size", {f"{STEM}.lokr_w1": torch.ones(3, 2), f"{STEM}.lokr_w2": torch.ones(8, 8)}, "fit"),
    ("a difference of another size", {f"{STEM}.diff": torch.ones(16, 15)}, "doesn’t fit"),
    ("a difference and a LoRA", lora() | {f"{STEM}.diff": torch.ones(16, 16)}, "don't make a whole layer"),
    ("a bias where none is", {f"{STEM}.diff_b": torch.ones(16)}, "fits no layer"),
    ("a whole model", {"model.diffusion_model.out.2.bias": torch.ones(4)}, "is a whole model"),
]


@pytest.mark.parametrize(("what", "tensors", "says"), WRONG, ids=[what for what, _, _ in WRONG])
def test_what_does_not_fit(what: str, tensors: Tensors, says: str, tiny_model: LoadedModel, tmp_path: Path) -> None:
    assert says in refusal(writing.write(tmp_path / "wrong.safetensors", tensors), tiny_model)


ATTN2 = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
OTHERS: list[tuple[str, Tensors]] = [
    ("Stable Diffusion 1.x", lora((4, 768), (640, 4), ATTN2)),
    ("Stable Diffusion 1.x", {f"unet.{LAYER.replace('attn1.to_q', 'attn2.to_k')}.weight": torch.ones(1280, 768)}),
    ("Stable Diffusion 1.x", lora((4, 768), (768, 4), "lora_te_text_model_encoder_layers_0_self_attn_q_proj")),
    ("Stable Diffusion 1.x", {"<cat>": torch.ones(2, 768)}),
    ("Stable Diffusion 2.x", lora((4, 1024), (640, 4), ATTN2)),
    ("Stable Diffusion 2.x", {"emb_params": torch.ones(2, 1024)}),
    ("Stable Diffusion XL", lora((4, 640), (640, 4), "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q")),
    ("Stable Diffusion XL", lora((4, 2048), (640, 4), ATTN2)),
    ("Stable Diffusion XL", {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}),
    ("FLUX", lora((4, 3072), (3072, 4), "lora_unet_double_blocks_0_img_attn_proj")),
    ("Stable Diffusion 3", lora((4, 1536), (1536, 4), "transformer.transformer_blocks.0.attn.to_q")),
]


@pytest.mark.parametrize(("made", "tensors"), OTHERS)
def test_other_families_are_said_plainly(
    made: str, tensors: Tensors, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    sentence = refusal(writing.write(tmp_path / "other.safetensors", tensors), tiny_model)
    assert "was made for" in sentence
    assert made in sentence
    assert "this bot draws with" in sentence


def test_sdxl_says_its_name(tiny_xl_model: LoadedModel, tmp_path: Path) -> None:
    path = writing.write(tmp_path / "first.safetensors", {"<cat>": torch.ones(2, 768)})
    wanted = "“first.safetensors” was made for Stable Diffusion 1.x; this bot draws with Stable Diffusion XL."
    assert refusal(path, tiny_xl_model) == wanted


@pytest.mark.parametrize("metadata", ["[1]", "{", "[" * 100_000, '{"unet.lora_alpha": "many"}'])
def test_damaged_metadata(tiny_model: LoadedModel, tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "meta.safetensors"
    save_file(lora(), path, {"lora_adapter_metadata": metadata})
    assert "metadata" in refusal(path, tiny_model)


def test_names_in_the_sentence_can_do_no_harm(tiny_model: LoadedModel, tmp_path: Path) -> None:
    tensors = {"@everyone \u202e\n\0" + "x" * 5000: torch.ones(1), "b": torch.ones(1)}
    sentence = refusal(writing.write(tmp_path / "evil.safetensors", tensors), tiny_model)
    assert sentence.isprintable()
    assert "@" not in sentence
    assert len(sentence) < 300


# --- whatever is sent ---------------------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    [
        *(
            f"{STEM}.{end}"
            for end in ("lora_down.weight", "lora_up.weight", "alpha", "dora_scale", "lora_mid.weight")
        ),
        *(f"{STEM}.{end}" for end in ("lokr_w1", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "hada_w1_a", "hada_w1_b")),
        *(f"{STEM}.{end}" for end in ("hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "diff", "diff_b")),
        *("unet.conv_in.weight", "clip_l", "clip_g", "emb_params", ".weight", ""),
    ]
)
_SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 16]), max_size=5)
_ALWAYS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def only_refused(path: Path, model: LoadedModel) -> None:
    """Read, or refused: any other error fails the test."""
    try:
        read_concept(path, model)
    except ConceptRefused:
        return


@_ALWAYS
@given(content=st.binary(max_size=200), header=st.booleans())
def test_random_bytes(tiny_model: LoadedModel, tmp_path: Path, content: bytes, header: bool) -> None:
    path = tmp_path / "random.safetensors"
    path.write_bytes((len(content) // 2).to_bytes(8, "little") * header + content)
    only_refused(path, tiny_model)


@_ALWAYS
@given(
    shapes=st.dictionaries(_KEYS, _SHAPES, max_size=6), dtype=st.sampled_from([torch.float32, torch.int8, torch.bool])
)
def test_random_tensors(
    tiny_model: LoadedModel, tmp_path: Path, shapes: dict[str, list[int]], dtype: torch.dtype
) -> None:
    path = tmp_path / "random.safetensors"
    save_file({key: torch.ones(shape, dtype=dtype) for key, shape in shapes.items()}, path)
    only_refused(path, tiny_model)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@_ALWAYS
@given(values=st.dictionaries(st.sampled_from(["lora_alpha", "alpha_pattern", "alpha", "use_rslora", "r"]), _JSON))
def test_random_settings(tiny_model: LoadedModel, tmp_path: Path, values: dict[str, object]) -> None:
    path = tmp_path / "random.safetensors"
    writing.write(path, lora(), {f"unet.{key}": value for key, value in values.items()})
    only_refused(path, tiny_model)


@_ALWAYS
@given(
    tensors=st.dictionaries(
        _KEYS,
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "F16", "F64", "BOOL", "F4", "F8_E5M2", "X", "C64"]),
                "shape": _SHAPES | st.just([2**62, 4]),
                "data_offsets": st.lists(st.integers(0, 64), min_size=2, max_size=2).map(sorted),
            }
        ),
        max_size=3,
    ),
    rest=st.binary(max_size=64),
)
def test_random_headers(tiny_model: LoadedModel, tmp_path: Path, tensors: dict[str, object], rest: bytes) -> None:
    header = json.dumps(tensors).encode()
    path = tmp_path / "random.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + rest)
    only_refused(path, tiny_model)
