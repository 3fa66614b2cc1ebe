"""Stable Diffusion 1.x and 2.x: one CLIP text encoder; epsilon or v-prediction.

Rombach et al., “High-Resolution Image Synthesis with Latent Diffusion Models”, arXiv 2112.10752. What is told to
the UNet is what diffusers' `StableDiffusionPipeline` and `StableDiffusionImg2ImgPipeline` tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from generation.families.protocol import EncodedText, TextPart, declared_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from generation.families.protocol import Tokens

_OTHER_INPUTS: Final = ("class_embed_type", "addition_embed_type", "encoder_hid_dim_type")
"""Settings of a UNet that wants to be told more than the time, the text and the guidance."""

_UNET: Final = "model.diffusion_model.input_blocks.0.0.weight"


@dataclass(frozen=True, slots=True)
class StableDiffusion:
    name: str = "stable-diffusion"
    text_parts: tuple[TextPart, ...] = (TextPart("text_encoder", "tokenizer", "CLIPTextModel"),)
    guidance_scale: float = 7.5
    zero_empty_negative: bool = False
    vae_overflows: bool = False
    """Its VAE runs in float16. (The flag can't be asked: diffusers sets it wherever a configuration is silent.)"""

    @staticmethod
    def of(index: Mapping[str, Any]) -> StableDiffusion | None:
        others = ("text_encoder_2", "text_encoder_3", "transformer", "prior")
        if declared_class(index, "unet") is None or any(declared_class(index, other) for other in others):
            return None
        return StableDiffusion()

    @staticmethod
    def config_of(shapes: Mapping[str, Sequence[int]]) -> str | None:
        """1.x has OpenAI's text encoder in the form of transformers, 2.x OpenCLIP's in its own."""
        if _UNET not in shapes:
            return None
        if "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight" in shapes:
            return "stable-diffusion-v1"
        return "stable-diffusion-v2" if "cond_stage_model.model.token_embedding.weight" in shapes else None

    def encode(self, encoders: Sequence[Any], tokens: Sequence[Tokens], clip_skip: int | None) -> EncodedText:
        """The last hidden states; with `clip_skip` those of that many layers before, through the final norm."""
        (encoder,), (text,) = encoders, tokens
        if clip_skip is None:
            return EncodedText(encoder(text.ids, attention_mask=text.mask)[0])
        layers = encoder(text.ids, attention_mask=text.mask, output_hidden_states=True).hidden_states
        return EncodedText(final_norm(encoder)(layers[-(clip_skip + 1)]))

    def deepest_clip_skip(self, encoders: Sequence[Any]) -> int:
        return encoders[0].num_hidden_layers

    def added(self, text: EncodedText, width: int, height: int) -> dict[str, torch.Tensor]:
        return {}

    def misfit(self, unet: Any, encoders: Sequence[Any]) -> str | None:
        wants = [name for name in _OTHER_INPUTS if getattr(unet, name, None) is not None]
        if wants:
            return f"its UNet needs inputs beside the time and the text ({', '.join(wants)})"
        if unet.cross_attention_dim != encoders[0].hidden_size:
            width = encoders[0].hidden_size
            return f"its UNet reads text of width {unet.cross_attention_dim}, its encoder writes {width}"
        return None


def final_norm(encoder: Any) -> Any:
    """The layer norm after the last layer; transformers before 5.6 keeps it one level deeper."""
    return getattr(encoder, "text_model", encoder).final_layer_norm
