"""The text encoder and the UNet of the bundled model, and its noise schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from training.base_model.configs import Config
from training.base_model.tokenizer import MODEL_MAX_LENGTH, VOCABULARY_SIZE

HEAD_WIDTH = 32  # of every attention head

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


def build_text_encoder(config: Config) -> CLIPTextModel:
    """A small CLIP text encoder: token ids ``[b, 32]`` → ``[b, 32, text_width]``."""
    clip = CLIPTextConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=config.text_width,
        intermediate_size=4 * config.text_width,
        num_hidden_layers=config.text_layers,
        num_attention_heads=config.text_width // HEAD_WIDTH,
        max_position_embeddings=MODEL_MAX_LENGTH,
        projection_dim=config.text_width,
        bos_token_id=VOCABULARY_SIZE - 2,
        eos_token_id=VOCABULARY_SIZE - 1,
        pad_token_id=VOCABULARY_SIZE - 1,
    )
    return CLIPTextModel(clip)


def build_unet(config: Config) -> UNet2DConditionModel:
    """Noisy latents ``[b, c, 16, 16]``, timesteps and text → the v prediction, alike in shape."""
    kinds = [f"{'CrossAttn' if attends else ''}%sBlock2D" for attends in config.unet_attention]
    return UNet2DConditionModel(
        sample_size=config.latent_size,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=config.unet_widths,
        layers_per_block=1,
        down_block_types=tuple(kind % "Down" for kind in kinds),
        up_block_types=tuple(kind % "Up" for kind in reversed(kinds)),
        cross_attention_dim=config.text_width,
        # diffusers' (historic) name for the number of heads per level.
        attention_head_dim=tuple(width // HEAD_WIDTH for width in config.unet_widths),  # pyright: ignore[reportArgumentType] - declared as one number
        norm_num_groups=16,
    )


class TextToLatents(nn.Module):
    """Text encoder and UNet as one module, so that they share optimiser, average and checkpoint."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(config)
        self.unet = build_unet(config)

    def compile_unet(self) -> None:
        """Run the UNet through ``torch.compile`` from now on; parameters and their names stay as they are."""
        self.unet.compile()

    def load_folder(self, folder: Path) -> None:
        """Take the weights of an exported model of the same sizes."""
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").float()
        unet = UNet2DConditionModel.from_pretrained(folder / "unet").float()
        self.text_encoder.load_state_dict(text_encoder.state_dict())
        self.unet.load_state_dict(unet.state_dict())

    def forward(self, noisy: Tensor, timesteps: Tensor, token_ids: Tensor) -> Tensor:
        """Noisy latents ``[b, c, 16, 16]``, timesteps ``[b]``, token ids ``[b, 32]`` → v ``[b, c, 16, 16]``."""
        text = self.text_encoder(token_ids).last_hidden_state
        return self.unet(noisy, timesteps, text).sample


def build_noise_schedule() -> DDIMScheduler:
    """The schedule for training (its ``alphas_cumprod``) and the scheduler of the exported model.

    At guidance 7.5 and 20 steps the first-order DDIM leaves plain backgrounds plain, where second-order
    solvers (DPM++ 2M, UniPC) mottle them.
    """
    return DDIMScheduler(**SCHEDULER_CONFIG)
