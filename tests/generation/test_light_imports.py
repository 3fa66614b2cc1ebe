"""The bot process imports some modules of `generation`; none of them may bring torch along."""

from __future__ import annotations

import os
import subprocess
import sys

LIGHT = (
    "generation.limits",
    "generation.prompt",
    "generation.request",
    "generation.recipe",
    "generation.image_input",
    "generation.upscale",
)
HEAVY = ("torch", "numpy", "diffusers", "transformers", "onnxruntime", "safetensors", "huggingface_hub")


def test_light_modules_need_only_pillow_and_msgspec() -> None:
    program = f"import sys, {', '.join(LIGHT)}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    heavy = loaded & set(HEAVY)
    assert not heavy, f"{heavy} came along: import them in generation.model, engine or below, not in {LIGHT}"


def test_threads_sleep_while_they_wait() -> None:
    """OpenMP reads this once, when torch loads: on a busy machine spinning makes a picture ten times slower."""
    program = "import os, generation.limits; print(os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env={**environment, **given})
        assert result.stdout.strip() == expected
