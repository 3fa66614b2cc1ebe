"""Stable Diffusion XL: two text encoders, their pooled text, and the picture's size as conditioning.

Podell et al., “SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis”, arXiv 2307.01952. What
is told to the UNet is what diffusers' `StableDiffusionXLPipeline` and `StableDiffusionXLImg2ImgPipeline` tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

from generation.families.protocol import EncodedText, TextPart, declared_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from generation.families.protocol import Tokens

_IN_A_FILE: Final = (
    "model.diffusion_model.label_emb.0.0.weight",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
    "conditioner.embedders.1.model.positional_embedding",
)


@dataclass(frozen=True, slots=True)
class StableDiffusionXL:
    zero_empty_negative: bool = True
    """`force_zeros_for_empty_prompt` of the model."""
    name: str = "stable-diffusion-xl"
    text_parts: tuple[TextPart, ...] = (
        TextPart("text_encoder", "tokenizer", "CLIPTextModel"),
        TextPart("text_encoder_2", "tokenizer_2", "CLIPTextModelWithProjection"),
    )
    guidance_scale: float = 5.0
    """As in diffusers' pipeline."""
    vae_overflows: bool = True

    @staticmethod
    def of(index: Mapping[str, Any]) -> StableDiffusionXL | None:
        wanted = ("unet", "text_encoder", "text_encoder_2")
        if any(declared_class(index, part) is None for part in wanted) or declared_class(index, "text_encoder_3"):
            return None
        return StableDiffusionXL(zero_empty_negative=bool(index.get("force_zeros_for_empty_prompt", True)))

    @staticmethod
    def config_of(shapes: Mapping[str, Sequence[int]]) -> str | None:
        """The base model; the refiner has one text encoder, as `conditioner.embedders.0.model`."""
        return "stable-diffusion-xl" if all(name in shapes for name in _IN_A_FILE) else None

    def encode(self, encoders: Sequence[Any], tokens: Sequence[Tokens], clip_skip: int | None) -> EncodedText:
        """The last layer but one of both encoders side by side, without a norm; the second's text as one vector.

        `clip_skip` counts from there: 1 is the last layer but two.
        """
        layer = -(2 if clip_skip is None else clip_skip + 2)
        outputs = [
            encoder(text.ids, output_hidden_states=True) for encoder, text in zip(encoders, tokens, strict=True)
        ]
        hidden = torch.cat([output.hidden_states[layer] for output in outputs], dim=-1)
        return EncodedText(hidden, outputs[-1].text_embeds)

    def deepest_clip_skip(self, encoders: Sequence[Any]) -> int:
        return min(encoder.num_hidden_layers for encoder in encoders) - 1

    def added(self, text: EncodedText, width: int, height: int) -> dict[str, torch.Tensor]:
        """The text as one vector, and the original height and width, crop top and left, target height and width.

        For us the original size is the target's, and nothing is cropped (section 2.2 of the paper).
        """
        assert text.pooled is not None
        time_ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=text.hidden.dtype)
        return {"text_embeds": text.pooled, "time_ids": time_ids.to(text.hidden.device)}

    def misfit(self, unet: Any, encoders: Sequence[Any]) -> str | None:
        first, second = encoders
        if unet.addition_embed_type != "text_time":
            return f"its UNet's added conditioning is {unet.addition_embed_type}, not text_time"
        if unet.cross_attention_dim != first.hidden_size + second.hidden_size:
            writes = f"its encoders write {first.hidden_size} + {second.hidden_size}"
            return f"its UNet reads text of width {unet.cross_attention_dim}, {writes}"
        numbers, left = divmod(
            unet.projection_class_embeddings_input_dim - second.projection_dim, unet.addition_time_embed_dim
        )
        if numbers == 5 and not left:
            return "it is the refiner, which only finishes the pictures of the base model"
        if (numbers, left) != (6, 0):
            return "its UNet's added conditioning is not six numbers and the pooled text"
        return None
