"""The text encoder and the UNet of the bundled model, and its noise schedule."""

from __future__ import annotations

from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from training.base_model.autoencoder import LATENT_CHANNELS
from training.base_model.tokenizer import MODEL_MAX_LENGTH, VOCABULARY_SIZE

LATENT_SIZE = 16
TEXT_WIDTH = 192
UNET_WIDTHS = {"small": (64, 128, 160), "large": (96, 192, 288)}

SCHEDULER_CONFIG: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "clip_sample": False,  # latents go beyond -1..1
    "steps_offset": 1,  # without effect here, but StableDiffusionPipeline warns of 0
}
"""With these betas hardly any signal is left at the last step (share 0.006), so that plain black and plain
white backgrounds come out as asked (Lin et al. 2023, https://arxiv.org/abs/2305.08891) with every scheduler."""


def build_text_encoder() -> CLIPTextModel:
    """A three-layer CLIP text encoder: token ids ``[b, 32]`` → ``[b, 32, 192]``."""
    config = CLIPTextConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=6,
        max_position_embeddings=MODEL_MAX_LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=VOCABULARY_SIZE - 2,
        eos_token_id=VOCABULARY_SIZE - 1,
        pad_token_id=VOCABULARY_SIZE - 1,
    )
    return CLIPTextModel(config)


def build_unet(config: str = "small") -> UNet2DConditionModel:
    """Noisy latents ``[b, 4, 16, 16]``, timesteps and text → the v prediction, alike in shape."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=UNET_WIDTHS[config],
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        # diffusers' (historic) name for the number of heads per level: every head is 32 wide.
        attention_head_dim=tuple(width // 32 for width in UNET_WIDTHS[config]),  # pyright: ignore[reportArgumentType] - declared as one number
        norm_num_groups=16,
    )


class TextToLatents(nn.Module):
    """Text encoder and UNet as one module, so that they share optimiser, average and checkpoint."""

    def __init__(self, config: str) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder()
        self.unet = build_unet(config)

    def forward(self, noisy: Tensor, timesteps: Tensor, token_ids: Tensor) -> Tensor:
        """Noisy latents ``[b, 4, 16, 16]``, timesteps ``[b]``, token ids ``[b, 32]`` → v ``[b, 4, 16, 16]``."""
        text = self.text_encoder(token_ids).last_hidden_state
        return self.unet(noisy, timesteps, text).sample


def build_noise_schedule() -> DDIMScheduler:
    """The schedule for training (its ``alphas_cumprod``) and the scheduler of the exported model.

    At guidance 7.5 and 20 steps the first-order DDIM leaves plain backgrounds plain, where second-order
    solvers (DPM++ 2M, UniPC) mottle them.
    """
    return DDIMScheduler(**SCHEDULER_CONFIG)
