"""Pictures of what a run can do so far, drawn the way that everybody will draw: a diffusers pipeline."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from PIL import Image
from transformers import CLIPTokenizer

from training.base_model.networks import TextToLatents, build_noise_schedule

PROMPTS = (
    "a fox on a blue background",
    "red apple",
    "apple, green background",
    "a cat on a purple background",
    "a car on a yellow background",
    "an icon of a house, white background",
    "a penguin on an orange background",
    "a rocket on a black background",
    "octopus",
    "pizza on a red background",
    "a fish, gray background",
    "a sunflower on a pink background",
    "a robot on a green background",
    "a castle on a white background",
    "a green apple on a black background",
    "a photo of a bus",
    "butterfly on yellow",
    "guitar, plain white background",
    "an elephant on a pink background",
    "a star on a blue background",
    "a donut",
    "a train on a white background",
    "an umbrella on a green background",
    "the sun, purple background",
    "two bears on a white background",
    "a small snail on a pink background",
    "a big smiley, yellow background",
    "an alarm clock on the left, blue background",
    "a rainbow on a white background",
    "a cup of coffee, orange background",
    "a gift",
    "a koala on a green background",
)


def build_pipeline(work: Path, networks: TextToLatents, scheduler: SchedulerMixin) -> StableDiffusionPipeline:
    """A standard pipeline of the run's networks, its tokenizer and its autoencoder."""
    return StableDiffusionPipeline(
        vae=AutoencoderTiny.from_pretrained(work / "autoencoder").eval(),  # type: ignore[arg-type]
        text_encoder=networks.text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(work / "tokenizer"),
        unet=networks.unet,
        scheduler=scheduler,  # type: ignore[arg-type]
        safety_checker=None,  # type: ignore[arg-type]
        feature_extractor=None,  # type: ignore[arg-type]
        requires_safety_checker=False,
    )


def draw(
    pipeline: StableDiffusionPipeline, prompts: tuple[str, ...], guidance_scale: float = 7.5, steps: int = 20
) -> list[Image.Image]:
    """One 64x64 picture per prompt, each from a seed of its own."""
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
    return pipeline(
        list(prompts),
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        generator=generators,
        output_type="pil",
    ).images  # type: ignore[union-attr]


def contact_sheet(
    pictures: list[Image.Image],
    columns: int = 8,
    enlarge: int = 2,
    smoothing: Image.Resampling = Image.Resampling.NEAREST,
) -> Image.Image:
    """Pictures side by side, enlarged."""
    side = pictures[0].width * enlarge
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 2), rows * (side + 2)), "white")
    for number, picture in enumerate(pictures):
        place = (number % columns * (side + 2), number // columns * (side + 2))
        sheet.paste(picture.resize((side, side), smoothing), place)
    return sheet


def draw_grid(work: Path, networks: TextToLatents, file: Path) -> None:
    """PROMPTS at the default guidance and steps, as one PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pipeline = build_pipeline(work, networks, build_noise_schedule())
    pipeline.to(next(networks.parameters()).device)
    contact_sheet(draw(pipeline, PROMPTS)).save(file)
