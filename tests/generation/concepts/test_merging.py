"""Merged networks against diffusers and peft, which load the same files, and against the formulas in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from generation.concepts.files import LoraFile, MergedFile, read_concept
from generation.concepts.merging import Merging
from generation.concepts.text import TextConcepts
from generation.model import LoadedModel, load_model
from generation.placeholders import spliced
from tests.generation.concepts import writing

TOLERANCE = 1e-5
# peft's messages about how it was made here, not about what it computes.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Already found a `peft_config`.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SGM = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "conv_out": "out.2",
    ".conv1": ".in_layers.2",
    ".conv2": ".out_layers.3",
    ".time_emb_proj": ".emb_layers.1",
    ".conv_shortcut": ".skip_connection",
}
"""Of the tiny SDXL, by hand, from the original code's way of counting."""


def sgm(name: str) -> str:
    for ours, theirs in SGM.items():
        if name == ours or (ours.startswith(".") and name.endswith(ours)):
            name = name.replace(ours, theirs)
        elif name.startswith(f"{ours}."):
            name = name.replace(ours, theirs, 1)
    return name


def pipeline(folder: Path) -> Any:
    kind = StableDiffusionXLPipeline if (folder / "text_encoder_2").is_dir() else StableDiffusionPipeline
    options = {} if kind is StableDiffusionXLPipeline else {"requires_safety_checker": False}
    made = kind.from_pretrained(folder, use_safetensors=True, **options)
    return made.to(torch.float32)


def outputs(unet: Any, text_encoders: tuple[Any, ...]) -> list[torch.Tensor]:
    """Of every network for the same random inputs."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(2, unet.config.in_channels, 8, 8, generator=generator)
    context = torch.randn(2, 16, unet.config.cross_attention_dim, generator=generator)
    added = None
    if unet.config.addition_embed_type == "text_time":
        pooled = torch.randn(2, 20, generator=generator)
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(2, 1)}
    ids = torch.tensor([[60, 3, 5, 7, 11, 13, 61, 61]])
    with torch.no_grad():
        drawn = unet(latents, torch.tensor([401, 77]), context, added_cond_kwargs=added).sample
        read = [encoder(ids).last_hidden_state for encoder in text_encoders]
    return [drawn, *read]


def check(ours: list[torch.Tensor], reference: list[torch.Tensor], plain: list[torch.Tensor]) -> None:
    """The same, and not by being without effect."""
    for one, other, without in zip(ours, reference, plain, strict=True):
        assert torch.linalg.norm(one - other) <= TOLERANCE * torch.linalg.norm(other)
        assert torch.linalg.norm(without - other) > 1e-2 * torch.linalg.norm(other)


def encoders_of(pipe: Any) -> tuple[Any, ...]:
    return tuple(pipe.components[name] for name in ("text_encoder", "text_encoder_2") if name in pipe.components)


def check_against_diffusers(folder: Path, model: LoadedModel, files: list[tuple[Path, float]]) -> list[Any]:
    pipe = pipeline(folder)
    for index, (path, _) in enumerate(files):
        pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name=f"file{index}")
    pipe.set_adapters([f"file{index}" for index in range(len(files))], [weight for _, weight in files])
    concepts = [read_concept(path, model) for path, _ in files]
    merged = Merging(model).merged_copies([(file, weight) for file, (_, weight) in zip(concepts, files, strict=True)])
    check(outputs(*merged), outputs(pipe.unet, encoders_of(pipe)), outputs(model.unet, model.text_encoders))
    return concepts


def test_peft_style_with_convolutions_and_text_encoder(
    tiny_folder: Path, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    unet = writing.random_layers(tiny_model.unet, seed=1)
    text = writing.random_layers(tiny_model.text_encoders[0], seed=2)
    path = writing.write(tmp_path / "style.safetensors", writing.peft_style(unet, text))
    (file,) = check_against_diffusers(tiny_folder, tiny_model, [(path, 0.7)])
    assert isinstance(file, LoraFile)
    assert file.rank == 4
    assert set(file.unet) == set(unet)
    assert set(file.text_encoders[0]) == set(text)


def test_kohya_style_with_alpha(tiny_folder: Path, tiny_model: LoadedModel, tmp_path: Path) -> None:
    unet = writing.random_layers(tiny_model.unet, seed=3)
    text = writing.random_layers(tiny_model.text_encoders[0], seed=4)
    path = writing.write(tmp_path / "style.safetensors", writing.kohya_style(unet, text, alpha=2.5))
    (file,) = check_against_diffusers(tiny_folder, tiny_model, [(path, 1.3)])
    assert isinstance(file, LoraFile)
    assert {layer.scale for layer in file.unet.values()} == {2.5 / 4}


def test_sdxl_with_the_original_codes_names(tiny_xl_folder: Path, tiny_xl_model: LoadedModel, tmp_path: Path) -> None:
    unet = writing.random_layers(tiny_xl_model.unet, seed=5)
    text = [writing.random_layers(encoder, seed=6) for encoder in tiny_xl_model.text_encoders]
    for layers in text:
        layers.pop("text_projection", None)
    path = writing.write(tmp_path / "style.safetensors", writing.kohya_style(unet, *text, alpha=3.0, rename=sgm))
    (file,) = check_against_diffusers(tiny_xl_folder, tiny_xl_model, [(path, 0.8)])
    assert isinstance(file, LoraFile)
    assert set(file.unet) == set(unet)


def test_sdxl_peft_style(tiny_xl_folder: Path, tiny_xl_model: LoadedModel, tmp_path: Path) -> None:
    unet = writing.random_layers(tiny_xl_model.unet, seed=7, wanted=writing.linear_only)
    text = [
        writing.random_layers(encoder, seed=8, wanted=writing.attention_only)
        for encoder in tiny_xl_model.text_encoders
    ]
    path = writing.write(tmp_path / "style.safetensors", writing.peft_style(unet, *text))
    check_against_diffusers(tiny_xl_folder, tiny_xl_model, [(path, -0.6)])


def test_two_files_with_weights_and_ranks_that_differ(
    tiny_folder: Path, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    files = []
    for index, weight in enumerate((0.9, -0.4)):
        unet = writing.random_layers(
            tiny_model.unet, seed=9 + index, rank=lambda name: 2 + len(name) % 3, wanted=writing.linear_only
        )
        text = writing.random_layers(tiny_model.text_encoders[0], seed=11 + index)
        style = writing.peft_style if index else writing.kohya_style
        files.append((writing.write(tmp_path / f"style{index}.safetensors", style(unet, text)), weight))
    check_against_diffusers(tiny_folder, tiny_model, files)


def test_alpha_in_diffusers_metadata(tiny_folder: Path, tiny_model: LoadedModel, tmp_path: Path) -> None:
    def rank(name: str) -> int:
        return 8 if name.endswith("attn1.to_q") else 4

    unet = writing.random_layers(tiny_model.unet, seed=13, rank=rank, wanted=writing.attention_only)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        rank_pattern={"attn1.to_q": 8},
        alpha_pattern={"attn2.to_k": 1.5},
        use_rslora=True,
        target_modules=["to_q", "to_k", "to_v", "to_out.0"],
    ).to_dict()
    kept = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules")
    metadata = {f"unet.{key}": sorted(config[key]) if isinstance(config[key], set) else config[key] for key in kept}
    path = writing.write(tmp_path / "style.safetensors", writing.peft_style(unet), metadata)
    pipe = pipeline(tiny_folder)
    pipe.load_lora_weights(tmp_path, weight_name=path.name)
    merged = Merging(tiny_model).merged_copies([(read_concept(path, tiny_model), 1.0)])
    assert merged[1] == tiny_model.text_encoders
    check(outputs(merged[0], ()), outputs(pipe.unet, ()), outputs(tiny_model.unet, ()))


def test_attention_processors_of_old_diffusers(tiny_model: LoadedModel, tmp_path: Path) -> None:
    unet = writing.random_layers(tiny_model.unet, seed=14, wanted=writing.attention_only)
    text = writing.random_layers(tiny_model.text_encoders[0], seed=15, wanted=writing.attention_only)
    tensors = {}
    for name, (down, up) in unet.items():
        stem = name.replace("attn1.", "attn1.processor.").replace("attn2.", "attn2.processor.").removesuffix(".0")
        tensors |= {f"unet.{stem}_lora.down.weight": down, f"unet.{stem}_lora.up.weight": up}
    for name, (down, up) in text.items():
        stem = writing.in_old_transformers(name).replace("self_attn.", "self_attn.to_").removesuffix("_proj")
        tensors |= {f"text_encoder.{stem}_lora.down.weight": down, f"text_encoder.{stem}_lora.up.weight": up}
    old = read_concept(writing.write(tmp_path / "old.safetensors", tensors), tiny_model)
    new = read_concept(writing.write(tmp_path / "new.safetensors", writing.peft_style(unet, text)), tiny_model)
    ours, reference = (outputs(*Merging(tiny_model).merged_copies([(file, 1.0)])) for file in (old, new))
    check(ours, reference, outputs(tiny_model.unet, tiny_model.text_encoders))


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_dora_as_peft(tiny_model: LoadedModel, tmp_path: Path, weight: float) -> None:
    """With magnitudes that are not the norm, of linear and convolution layers, and weights other than 1."""
    wanted = writing.random_layers(tiny_model.unet, seed=16, rank=3)
    config = peft.LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=list(wanted))
    reference: Any = peft.inject_adapter_in_model(config, pipeline_unet(tiny_model))
    generator = torch.Generator().manual_seed(17)
    with torch.no_grad():
        for name, values in reference.named_parameters():
            if "lora_" in name:
                values.copy_(
                    values * (1 + 0.3 * torch.rand(values.shape, generator=generator))
                    if "magnitude" in name
                    else 0.2 * torch.randn(values.shape, generator=generator)
                )
    tensors = {f"unet.{key}": values for key, values in peft.get_peft_model_state_dict(reference).items()}
    path = writing.write(
        tmp_path / "dora.safetensors", tensors, {"unet.r": 3, "unet.lora_alpha": 5, "unet.use_dora": True}
    )
    file = read_concept(path, tiny_model)
    assert isinstance(file, MergedFile)
    for module in reference.modules():
        if hasattr(module, "set_scale"):
            module.set_scale("default", weight)
    unet, _ = Merging(tiny_model).merged_copies([(file, weight)])
    check(outputs(unet, ()), outputs(reference, ()), outputs(tiny_model.unet, ()))


def pipeline_unet(model: LoadedModel) -> Any:
    unet = type(model.unet).from_config(model.unet.config)
    unet.load_state_dict(model.unet.state_dict())
    return unet.eval()


def test_a_large_rank_is_merged(tiny_folder: Path, tiny_model: LoadedModel, tmp_path: Path) -> None:
    unet = writing.random_layers(tiny_model.unet, seed=18, rank=129, wanted=writing.attention_only, size=0.05)
    text = writing.random_layers(tiny_model.text_encoders[0], seed=19, rank=129, size=0.05)
    path = writing.write(tmp_path / "large.safetensors", writing.peft_style(unet, text))
    (file,) = check_against_diffusers(tiny_folder, tiny_model, [(path, 1.0)])
    assert isinstance(file, MergedFile)


LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
"""[16, 16]."""
KERNEL = "mid_block.resnets.0.conv1"
"""[16, 16, 3, 3]."""


def dora_by_input(w: torch.Tensor, t: dict[str, torch.Tensor], weight: float) -> torch.Tensor:
    moved = w + weight * (4.0 / 2) * (t["lora_up.weight"] @ t["lora_down.weight"])
    return t["dora_scale"] * moved / moved.norm(dim=0, keepdim=True)


def dora_by_output(w: torch.Tensor, t: dict[str, torch.Tensor], weight: float) -> torch.Tensor:
    product = (t["lora_up.weight"][:, :, 0, 0] @ t["lora_down.weight"].flatten(1)).view(w.shape)
    moved = w + weight * (4.0 / 2) * product
    return t["dora_scale"] * moved / moved.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def lokr_kernel(w: torch.Tensor, t: dict[str, torch.Tensor], weight: float) -> torch.Tensor:
    second = (t["lokr_w2_a"] @ t["lokr_w2_b"]).view(4, 8, 3, 3)
    product = torch.einsum("ab,cdhw->acbdhw", t["lokr_w1"], second).reshape(w.shape)
    return w + weight * (4.0 / 2) * product


def lokr_tucker(w: torch.Tensor, t: dict[str, torch.Tensor], weight: float) -> torch.Tensor:
    second = torch.einsum("ijhw,ip,jr->prhw", t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"])
    first = t["lokr_w1_a"] @ t["lokr_w1_b"]
    return w + weight * (4.0 / 2) * torch.einsum("ab,cdhw->acbdhw", first, second).reshape(w.shape)


def loha(w: torch.Tensor, t: dict[str, torch.Tensor], weight: float) -> torch.Tensor:
    product = (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])
    return w + weight * (4.0 / 2) * product.view(w.shape)


def loha_tucker(w: torch.Tensor, t: dict[str, torch.Tensor], weight: float) -> torch.Tensor:
    halves = [torch.einsum("ijhw,ip,jr->prhw", t[f"hada_t{n}"], t[f"hada_w{n}_a"], t[f"hada_w{n}_b"]) for n in (1, 2)]
    return w + weight * (4.0 / 2) * halves[0] * halves[1]


Formula = Callable[[torch.Tensor, dict[str, torch.Tensor], float], torch.Tensor]
KINDS: list[tuple[str, str, dict[str, list[int]], Formula]] = [
    (
        "LoKr, both whole: alpha is the rank",
        LINEAR,
        {"lokr_w1": [2, 4], "lokr_w2": [8, 4]},
        lambda w, t, weight: w + weight * torch.kron(t["lokr_w1"], t["lokr_w2"]),
    ),
    (
        "LoKr, second factored",
        LINEAR,
        {"lokr_w1": [4, 4], "lokr_w2_a": [4, 2], "lokr_w2_b": [2, 4]},
        lambda w, t, weight: w + weight * 2.0 * torch.kron(t["lokr_w1"], t["lokr_w2_a"] @ t["lokr_w2_b"]),
    ),
    ("LoKr of a convolution", KERNEL, {"lokr_w1": [4, 2], "lokr_w2_a": [4, 2], "lokr_w2_b": [2, 72]}, lokr_kernel),
    (
        "LoKr with a core",
        KERNEL,
        {
            "lokr_w1_a": [4, 2],
            "lokr_w1_b": [2, 2],
            "lokr_w2_a": [2, 4],
            "lokr_w2_b": [2, 8],
            "lokr_t2": [2, 2, 3, 3],
        },
        lokr_tucker,
    ),
    ("LoHa", LINEAR, {"hada_w1_a": [16, 2], "hada_w1_b": [2, 16], "hada_w2_a": [16, 2], "hada_w2_b": [2, 16]}, loha),
    (
        "LoHa of a convolution",
        KERNEL,
        {"hada_w1_a": [16, 2], "hada_w1_b": [2, 144], "hada_w2_a": [16, 2], "hada_w2_b": [2, 144]},
        loha,
    ),
    (
        "LoHa with cores",
        KERNEL,
        {f"hada_w{half}_{part}": [2, 16] for half in "12" for part in "ab"}
        | {"hada_t1": [2, 2, 3, 3], "hada_t2": [2, 2, 3, 3]},
        loha_tucker,
    ),
    (
        "LoCon with a core",
        KERNEL,
        {"lora_down.weight": [2, 16, 1, 1], "lora_mid.weight": [2, 2, 3, 3], "lora_up.weight": [16, 2, 1, 1]},
        lambda w, t, weight: (
            w
            + weight
            * 2.0
            * torch.einsum(
                "or,rshw,si->oihw",
                t["lora_up.weight"][:, :, 0, 0],
                t["lora_mid.weight"],
                t["lora_down.weight"][:, :, 0, 0],
            )
        ),
    ),
    (
        "DoRA by output",
        KERNEL,
        {"lora_down.weight": [2, 16, 3, 3], "lora_up.weight": [16, 2, 1, 1], "dora_scale": [16, 1, 1, 1]},
        dora_by_output,
    ),
    (
        "DoRA by input",
        LINEAR,
        {"lora_down.weight": [2, 16], "lora_up.weight": [16, 2], "dora_scale": [1, 16]},
        dora_by_input,
    ),
]


@pytest.mark.parametrize(("kind", "module", "shapes", "formula"), KINDS, ids=[kind[0] for kind in KINDS])
def test_other_kinds_against_their_formulas(
    kind: str, module: str, shapes: dict[str, list[int]], formula: Formula, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    """In float64, alpha 4 and rank 2, weight 0.75."""
    generator = torch.Generator().manual_seed(20)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    stem = f"lora_unet_{module.replace('.', '_')}"
    keyed = {f"{stem}.{name}": values for name, values in tensors.items()} | {f"{stem}.alpha": torch.tensor(4.0)}
    file = read_concept(writing.write(tmp_path / "other.safetensors", keyed), tiny_model)
    assert isinstance(file, MergedFile)
    merged, text_encoders = Merging(tiny_model).merged_copies([(file, 0.75)])
    assert text_encoders == tiny_model.text_encoders
    base = tiny_model.unet.get_submodule(module).weight
    wanted = formula(base.double(), {name: values.double() for name, values in tensors.items()}, 0.75)
    assert torch.linalg.norm(merged.get_submodule(module).weight - wanted) <= TOLERANCE * torch.linalg.norm(wanted)


def test_differences_and_whole_weights(tiny_model: LoadedModel, tmp_path: Path) -> None:
    convolution = tiny_model.unet.get_submodule(KERNEL)
    stem = f"lora_unet_{KERNEL.replace('.', '_')}"
    generator = torch.Generator().manual_seed(21)
    difference, bias = torch.randn(16, 16, 3, 3, generator=generator), torch.randn(16, generator=generator)
    file = read_concept(
        writing.write(tmp_path / "diff.safetensors", {f"{stem}.diff": difference, f"{stem}.diff_b": bias}), tiny_model
    )
    whole = read_concept(
        writing.write(
            tmp_path / "whole.safetensors",
            {
                "unet.conv_in.weight": torch.full((8, 4, 3, 3), 0.5),
                "text_encoder.text_model.final_layer_norm.bias": torch.arange(16.0),
                "text_encoder.text_model.embeddings.position_ids": torch.arange(16)[None],
            },
        ),
        tiny_model,
    )
    unet, (text_encoder,) = Merging(tiny_model).merged_copies([(file, 0.5), (whole, 1.0)])
    merged = unet.get_submodule(KERNEL)
    torch.testing.assert_close(merged.weight, convolution.weight + 0.5 * difference)
    torch.testing.assert_close(merged.bias, convolution.bias + 0.5 * bias)
    torch.testing.assert_close(unet.conv_in.weight, torch.full((8, 4, 3, 3), 0.5))
    torch.testing.assert_close(text_encoder.final_layer_norm.bias, torch.arange(16.0))


def test_the_model_stays_as_it_is_and_shares_what_is_the_same(tiny_model: LoadedModel, tmp_path: Path) -> None:
    before = {name: values.clone() for name, values in tiny_model.unet.state_dict().items()}
    layers = writing.random_layers(tiny_model.unet, seed=22, wanted=writing.attention_only)
    file = read_concept(writing.write(tmp_path / "style.safetensors", writing.peft_style(layers)), tiny_model)
    unet, text_encoders = Merging(tiny_model).merged_copies([(file, 1.0)])
    assert unet is not tiny_model.unet
    assert text_encoders[0] is tiny_model.text_encoders[0]
    for name, values in tiny_model.unet.state_dict().items():
        assert torch.equal(values, before[name])
        changed = name.removesuffix(".weight") in layers
        assert (unet.state_dict()[name].data_ptr() == values.data_ptr()) is not changed
        assert torch.equal(unet.state_dict()[name], values) is not changed
    assert not any(values.requires_grad for values in unet.parameters())
    assert unet.conv_in is not tiny_model.unet.conv_in


def test_merging_in_half_precision_rounds_once(tiny_model: LoadedModel, tmp_path: Path) -> None:
    """Two changes that bfloat16 would each lose together make one that it keeps."""
    small = tiny_model.unet.conv_in.weight.detach()
    half = type(tiny_model.unet).from_config(tiny_model.unet.config).to(torch.bfloat16)
    with torch.no_grad():
        half.conv_in.weight.fill_(1.0)
    model = dataclasses.replace(tiny_model, unet=half, dtype=torch.bfloat16)
    tensors = {"lora_unet_conv_in.diff": torch.full_like(small, 0.003)}
    file = read_concept(writing.write(tmp_path / "tiny.safetensors", tensors), model)
    unet, _ = Merging(model).merged_copies([(file, 1.0), (file, 1.0)])
    assert unet.conv_in.weight.dtype == torch.bfloat16
    assert torch.equal(unet.conv_in.weight, torch.full_like(half.conv_in.weight, 1.0078125))


def test_hooks_of_the_moment_are_in_no_copy(tiny_folder: Path, tmp_path: Path) -> None:
    """A copy is made while somebody else's words and LoRA are in the text encoder, and the UNet is routed."""
    tiny_model = load_model(str(tiny_folder), device="cpu")
    (encoder,) = tiny_model.text_encoders
    layers = writing.random_layers(encoder, seed=23), writing.random_layers(tiny_model.unet, seed=23)
    path = writing.write(tmp_path / "style.safetensors", writing.peft_style(layers[1], layers[0]))
    file = read_concept(path, tiny_model)
    assert isinstance(file, LoraFile)
    merging = Merging(tiny_model)
    expected = outputs(*merging.merged_copies([(file, 1.0)]))
    others = TextConcepts("other", {}, {}, tiny_model.text_encoders, ((3.0, file.text_encoders),))
    hook = tiny_model.unet.conv_in.register_forward_hook(lambda *_: None)
    with others.encoders(), spliced(encoder, 3, [torch.ones(60, 16)]):
        copies = merging.merged_copies([(file, 1.0)])
    hook.remove()
    for ours, theirs in zip(outputs(*copies), expected, strict=True):
        assert torch.equal(ours, theirs)
    modules = [module for network in (copies[0], *copies[1]) for module in network.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def test_a_copy_of_an_offloaded_network_stays_on_the_device(tiny_folder: Path, tmp_path: Path) -> None:
    """A device without content stands for a card: the model says it is there, its text encoder is at home.

    While it visits the card, a copy is made of what is at home, and the visit's end takes nothing out of the copy.
    """
    model = load_model(str(tiny_folder), device="cpu")
    (encoder,) = model.text_encoders
    path = writing.write(tmp_path / "s.safetensors", writing.peft_style({}, writing.random_layers(encoder, seed=24)))
    file = read_concept(path, model)
    on_card = dataclasses.replace(model, device=torch.device("meta"))
    _, (copied,) = Merging(on_card).merged_copies([(file, 1.0)])
    assert {tensor.device.type for tensor in (*copied.parameters(), *copied.buffers())} == {"meta"}
    assert {tensor.device.type for tensor in (*encoder.parameters(), *encoder.buffers())} == {"cpu"}
    merging = Merging(model)
    _, (expected,) = merging.merged_copies([(file, 1.0)])
    for parameter in encoder.parameters():
        parameter.data = torch.full_like(parameter, torch.nan)  # as `Offload` does it
    _, (copied,) = merging.merged_copies([(file, 1.0)])
    for name, values in copied.state_dict().items():
        assert torch.equal(values, expected.state_dict()[name])
