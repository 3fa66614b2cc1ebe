"""Names of modules, against the names that published files have."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from generation.concepts.keys import Target, metadata_prefix, spellings, split_key
from generation.concepts.sgm_names import sgm_names
from generation.model import LoadedModel


@pytest.mark.parametrize(
    ("key", "stem", "role"),
    [
        ("unet.conv_in.lora_A.weight", "unet.conv_in", "down"),
        ("unet.conv_in.lora_B.weight", "unet.conv_in", "up"),
        ("unet.conv_in.lora.down.weight", "unet.conv_in", "down"),
        ("text_encoder.fc1.lora_linear_layer.up.weight", "text_encoder.fc1", "up"),
        ("a.attn1.processor.to_q_lora.down.weight", "a.attn1.processor.to_q", "down"),
        ("lora_unet_conv_in.lora_up.weight", "lora_unet_conv_in", "up"),
        ("lora_unet_conv_in.alpha", "lora_unet_conv_in", "alpha"),
        ("lora_unet_conv_in.hada_w1_b", "lora_unet_conv_in", "hada_w1_b"),
        ("lora_unet_conv_in.lokr_w1", "lora_unet_conv_in", "lokr_w1"),
        ("lora_unet_conv_in.diff_b", "lora_unet_conv_in", "bias_difference"),
        ("unet.conv_in.weight", "unet.conv_in", "weight"),
    ],
)
def test_a_key_is_a_module_and_a_role(key: str, stem: str, role: str) -> None:
    assert split_key(key) == (stem, role)


def test_a_key_without_a_role() -> None:
    assert split_key("lora_unet_conv_in.oft_blocks") is None
    assert split_key("") is None


PUBLISHED = {
    # As files for SDXL base have them (sd-scripts), and diffusers' conversion of the single-file weights.
    "input_blocks.1.0.in_layers.2": "down_blocks.0.resnets.0.conv1",
    "input_blocks.3.0.op": "down_blocks.0.downsamplers.0.conv",
    "input_blocks.4.0.skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "input_blocks.4.1.transformer_blocks.1.attn2.to_k": "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k",
    "input_blocks.6.0.op": "down_blocks.1.downsamplers.0.conv",
    "input_blocks.8.1.transformer_blocks.9.ff.net.2": "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.2",
    "middle_block.1.proj_in": "mid_block.attentions.0.proj_in",
    "middle_block.2.emb_layers.1": "mid_block.resnets.1.time_emb_proj",
    "output_blocks.0.1.transformer_blocks.0.attn1.to_out.0": (
        "up_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
    ),
    "output_blocks.2.2.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.5.2.conv": "up_blocks.1.upsamplers.0.conv",
    "output_blocks.8.0.out_layers.3": "up_blocks.2.resnets.2.conv2",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.2": "add_embedding.linear_2",
    "out.2": "conv_out",
}
PUBLISHED_1 = {
    # The same for Stable Diffusion 1.5.
    "input_blocks.1.1.proj_in": "down_blocks.0.attentions.0.proj_in",
    "input_blocks.9.0.op": "down_blocks.2.downsamplers.0.conv",
    "input_blocks.11.0.out_layers.3": "down_blocks.3.resnets.1.conv2",
    "output_blocks.2.1.conv": "up_blocks.0.upsamplers.0.conv",
    "output_blocks.5.2.conv": "up_blocks.1.upsamplers.0.conv",
    "output_blocks.11.1.transformer_blocks.0.attn2.to_v": "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_v",
}


def test_the_original_codes_names() -> None:
    """In the architectures of SDXL and SD 1.5, without memory for their weights."""
    with torch.device("meta"):
        xl = UNet2DConditionModel(
            block_out_channels=(32, 64, 128),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=56,
        )
        first = UNet2DConditionModel(block_out_channels=(32, 64, 64, 64))
    for unet, published in ((xl, PUBLISHED), (first, PUBLISHED_1)):
        names = sgm_names(unet)
        assert {theirs: ours for ours, theirs in names.items() if theirs in published} == published
        layers = [name for name, module in unet.named_modules() if list(module.parameters(recurse=False))]
        assert len({names[name] for name in layers}) == len(layers)


def test_spellings_of_two_text_encoders(tiny_xl_model: LoadedModel) -> None:
    known = spellings(tiny_xl_model)
    first, second = "encoder.layers.0.mlp.fc1", "text_model.encoder.layers.0.mlp.fc1"
    layer = "text_model_encoder_layers_0_mlp_fc1"
    assert known[f"lora_te_{layer}"] == known[f"lora_te1_{layer}"] == Target(1, first)
    assert known["text_encoder.text_model.encoder.layers.0.mlp.fc1"] == Target(1, first)
    assert known[f"lora_te2_{layer}"] == Target(2, second)
    assert known["text_encoder_2.text_model.encoder.layers.0.mlp.fc1"] == Target(2, second)
    assert known["lora_te2_text_projection"] == Target(2, "text_projection")
    assert known["lora_unet_output_blocks_1_2_conv"] == Target(0, "up_blocks.0.upsamplers.0.conv")


def test_one_text_encoder_has_no_second(tiny_model: LoadedModel) -> None:
    assert not any(name.startswith(("lora_te2", "text_encoder_2")) for name in spellings(tiny_model))


def test_prefixes_of_metadata() -> None:
    assert [metadata_prefix(network) for network in range(3)] == ["unet", "text_encoder", "text_encoder_2"]
