"""Everything that is needed to make the same picture again, and how a PNG carries it.

The text is the one that most programs read from a PNG's `parameters` chunk: prompt, `Negative prompt:`
line, then one line of `Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, …` (the format
began with AUTOMATIC1111's stable-diffusion-webui). Light: standard library, msgspec and Pillow only.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import quoteattr

import msgspec
from PIL.PngImagePlugin import PngInfo

from generation.limits import SCHEDULERS, scheduler_label

if TYPE_CHECKING:
    from PIL import Image

_PROGRAM: Final = "Atelier"
_NEGATIVE: Final = "Negative prompt: "
_SETTING: Final = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_SHORT_HASH: Final = 10
"""Characters of a model hash that programs show and compare."""

_MADE_BY_A_MODEL: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmp:CreatorTool={tool} Iptc4xmpExt:DigitalSourceType={source}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


class RecipeUnreadable(ValueError):
    """The text is not a recipe: it has no line of settings with steps, seed and size."""


class ConceptUsed(msgspec.Struct, frozen=True, kw_only=True):
    """A concept as it acted in a picture: its name, its weight, and the SHA-256 of its file."""

    name: str
    weight: float
    sha256: str


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A fully resolved request for one picture, and the model that drew it."""

    prompt: str
    negative_prompt: str = ""
    """Had no effect if `guidance_scale` is 1."""
    guidance_scale: float
    num_inference_steps: int
    seed: int
    """This picture's own: the request's seed + its index."""
    width: int
    height: int
    scheduler: str
    """A name in `SCHEDULERS`, or the diffusers class of a model's own scheduler."""
    model_name: str
    model_hash: str
    strength: float | None = None
    init_image_sha256: str | None = None
    """Over the bytes of the start image's file."""
    clip_skip: int | None = None
    concepts: list[ConceptUsed] = []
    version: str = ""
    """The program that drew it, such as `Atelier 0.1.0`."""


@cache
def software_version() -> str:
    """This program with its version, as it is written into recipes."""
    try:
        return f"{_PROGRAM} {metadata.version('atelier-studio')}"
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return _PROGRAM


def to_parameters(recipe: Recipe) -> str:
    """The recipe as the text of a PNG's `parameters` chunk. Model hashes are cut to ten characters."""
    settings: dict[str, object] = {
        "Steps": recipe.num_inference_steps,
        "Sampler": scheduler_label(recipe.scheduler),
        "CFG scale": _number(recipe.guidance_scale),
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}",
        "Model hash": recipe.model_hash[:_SHORT_HASH],
        "Model": recipe.model_name,
        "Denoising strength": None if recipe.strength is None else _number(recipe.strength),
        "Init image hash": recipe.init_image_sha256,
        "Clip skip": None if recipe.clip_skip is None else recipe.clip_skip + 1,  # others count the last layer
        "Concepts": ", ".join(f"{used.name}:{_number(used.weight)}:{used.sha256}" for used in recipe.concepts),
        "Version": recipe.version,
    }
    said = [f"{key}: {_quoted(str(value))}" for key, value in settings.items() if value not in (None, "")]
    lines = [recipe.prompt]
    if recipe.negative_prompt:
        lines.append(_NEGATIVE + recipe.negative_prompt)
    return "\n".join([*lines, ", ".join(said)])


def from_parameters(text: str) -> Recipe:
    """The recipe in a `parameters` text, ours or another program's. Settings that we lack are passed over.

    Our first line is the prompt, whatever it says. Other programs leave out an empty prompt with its line.

    Raises:
        RecipeUnreadable: no steps, seed or size in the last line.
    """
    *lines, last = text.strip("\n").split("\n")
    settings = {key: _unquoted(value) for key, value in _SETTING.findall(last)}
    first = 1 if settings.get("Version", "").startswith(_PROGRAM) else 0
    cut = next((i for i, line in enumerate(lines) if i >= first and line.startswith(_NEGATIVE)), len(lines))
    try:
        width, height = settings["Size"].split("x")
        strength = settings.get("Denoising strength")
        return Recipe(
            prompt="\n".join(lines[:cut]),
            negative_prompt="\n".join(lines[cut:]).removeprefix(_NEGATIVE),
            guidance_scale=float(settings.get("CFG scale", "1")),
            num_inference_steps=int(settings["Steps"]),
            seed=int(settings["Seed"]),
            width=int(width),
            height=int(height),
            scheduler=_scheduler_name(settings.get("Sampler", "")),
            model_name=settings.get("Model", ""),
            model_hash=settings.get("Model hash", ""),
            strength=None if strength is None else float(strength),
            init_image_sha256=settings.get("Init image hash"),
            clip_skip=int(settings["Clip skip"]) - 1 if "Clip skip" in settings else None,
            concepts=_concepts(settings.get("Concepts", "")),
            version=settings.get("Version", ""),
        )
    except (KeyError, ValueError) as error:
        raise RecipeUnreadable(f"no recipe in this text: {error}") from error


def _concepts(text: str) -> list[ConceptUsed]:
    used: list[ConceptUsed] = []
    for part in text.split(", ") if text else []:
        name, weight, sha256 = part.split(":")
        used.append(ConceptUsed(name=name, weight=float(weight), sha256=sha256))
    return used


def one_line(recipe: Recipe) -> str:
    """What a person wants to see under a picture: `20 steps · guidance 7.5 · seed 1 · 64×64 · DDIM`."""
    guidance = recipe.guidance_scale
    parts = [
        f"{recipe.num_inference_steps} step" + ("s" if recipe.num_inference_steps != 1 else ""),
        f"guidance {_number(guidance)}" if guidance > 1 else "guidance off",
        f"seed {recipe.seed}",
        f"{recipe.width}×{recipe.height}",
        scheduler_label(recipe.scheduler),
    ]
    if recipe.strength is not None:
        parts.append(f"strength {_number(recipe.strength)}")
    return " · ".join(parts)


def save_png(image: Image.Image, path: Path, recipe: Recipe) -> None:
    """Write `image` with its recipe and the mark that a model made it. The file is whole or not there.

    The mark is XMP with `DigitalSourceType` (IPTC Photo Metadata 2023.2).
    """
    info = PngInfo()
    info.add_text("parameters", to_parameters(recipe))
    tool, source = quoteattr(recipe.version or software_version()), quoteattr(_MADE_BY_A_MODEL)
    info.add_itxt("XML:com.adobe.xmp", _XMP.format(tool=tool, source=source))
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            image.save(file, "PNG", pnginfo=info)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _number(value: float) -> str:
    """The shortest text that reads back as the same number: `7`, `7.5`."""
    return repr(value).removesuffix(".0")


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]|^\s|\s$', value) else value


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value


def _scheduler_name(label: str) -> str:
    return next((name for name, choice in SCHEDULERS.items() if choice.label == label), label)
