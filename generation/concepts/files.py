"""Read a concept's file, made by whomever with whatever trainer, for one model: all of it fits, or it is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from torch import nn

from generation.concepts.changes import LoraLayer, RowsDifference, WeightDifference
from generation.concepts.keys import networks_of, split_key
from generation.concepts.layers import read_changes
from generation.concepts.origin import drawn_with, made_for
from generation.concepts.row_layers import has_vectors
from generation.concepts.tensor_file import ConceptRefused, open_tensors, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from generation.concepts.changes import Change
    from generation.concepts.tensor_file import TensorFile
    from generation.model import LoadedModel

MAX_SLOT_RANK: Final = 128
"""A LoRA of a larger rank in any layer is merged instead of sharing the batch."""
_TWO_ENCODERS: Final = ({"clip_l", "clip_g"}, {"text_encoders_0", "text_encoders_1"})
_ORDER: Final = ("clip_l", "text_encoders_0", "clip_g", "text_encoders_1")
_WHOLE_MODEL: Final = ("model.diffusion_model.", "first_stage_model.")

__all__ = [
    "MAX_SLOT_RANK",
    "ConceptRefused",
    "LoraFile",
    "LoraLayer",
    "MergedFile",
    "TextualInversionFile",
    "read_concept",
]


@dataclass(frozen=True, slots=True, eq=False)
class TextualInversionFile:
    """Word vectors (Gal et al., arXiv 2208.01618): per text encoder [n, width], float32; n is the same for all."""

    sha256: str
    vectors: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LoraFile:
    """Low-rank layers by module name: of the UNet, and of each of the model's text encoders.

    `rank` is the largest in the file, at most `MAX_SLOT_RANK`. Beside them, by parameter name, what else can share a
    batch, as DreamBooth is stored (see `training.stored_form`): differences of one dimension, of the UNet and of each
    text encoder, and of text encoders' embeddings.
    """

    sha256: str
    unet: dict[str, LoraLayer]
    text_encoders: tuple[dict[str, LoraLayer], ...]
    rank: int
    unet_vectors: dict[str, WeightDifference] = field(default_factory=dict)
    text_differences: tuple[dict[str, WeightDifference | RowsDifference], ...] = ()

    @property
    def in_unet(self) -> bool:
        return bool(self.unet or self.unet_vectors)

    @property
    def in_text(self) -> bool:
        return any(self.text_encoders) or any(self.text_differences)

    def changes(self) -> tuple[Mapping[str, Change], ...]:
        """By parameter name, for the UNet and then each text encoder."""
        others = self.text_differences or ({},) * len(self.text_encoders)
        networks = ((self.unet, self.unet_vectors), *zip(self.text_encoders, others, strict=True))
        return tuple(
            {**{f"{name}.weight": layer for name, layer in layers.items()}, **beside} for layers, beside in networks
        )


@dataclass(frozen=True, slots=True, eq=False)
class MergedFile:
    """Changes that can only be merged into a copy of the networks (see `merging.py`), by parameter name."""

    sha256: str
    unet: dict[str, Change]
    text_encoders: tuple[dict[str, Change], ...]

    def changes(self) -> tuple[Mapping[str, Change], ...]:
        """By parameter name, for the UNet and then each text encoder."""
        return (self.unet, *self.text_encoders)


def read_concept(path: Path, model: LoadedModel) -> TextualInversionFile | LoraFile | MergedFile:
    """Read the .safetensors file at `path` for use with `model`.

    Textual inversions as diffusers ({token: [n, width] or [width]}), A1111 (`emb_params`) and SDXL trainers
    (`clip_l`, `clip_g`) write them; LoRA, DoRA, LoHa, LoKr, weight differences and whole weights with the key names
    of diffusers, peft and kohya. Names and shapes are checked before any numbers are read.

    Raises:
        ConceptRefused: one sentence with the file's name: no whole safetensors file, NaN, wrong shapes, a key that
            fits nothing in this model, made for other models.
    """
    with open_tensors(path) as tensors:
        if any(key.startswith(_WHOLE_MODEL) for key in tensors.shapes):
            raise tensors.refuse("is a whole model, not a concept; give a textual inversion or a LoRA")
        try:
            if _is_textual_inversion(tensors):
                return _textual_inversion(tensors, model)
            return _layers(tensors, model)
        except ConceptRefused as error:
            made, here = made_for(tensors.shapes), drawn_with(model)
            if made is None or made == here:
                raise
            raise tensors.refuse(f"was made for {made}; this bot draws with {here}") from error


def _is_textual_inversion(tensors: TensorFile) -> bool:
    keys = set(tensors.shapes)
    return keys in _TWO_ENCODERS or (len(keys) == 1 and split_key(next(iter(keys))) is None)


def _textual_inversion(tensors: TensorFile, model: LoadedModel) -> TextualInversionFile:
    keys = sorted(tensors.shapes, key=lambda key: _ORDER.index(key) if key in _ORDER else 0)
    if len(keys) != len(model.text_encoders):
        wanted = len(model.text_encoders)
        raise tensors.refuse(f"has word vectors for {len(keys)} text encoder(s); this model has {wanted}")
    vectors = tuple(
        _vectors(tensors, key, encoder.config) for key, encoder in zip(keys, model.text_encoders, strict=True)
    )
    if len({len(of_one) for of_one in vectors}) != 1:
        counts = " and ".join(str(len(of_one)) for of_one in vectors)
        raise tensors.refuse(f"has {counts} word vectors for the two text encoders; both must have as many")
    return TextualInversionFile(tensors.sha256, vectors)


def _vectors(tensors: TensorFile, key: str, config: object) -> Tensor:
    width: int = config.hidden_size  # pyright: ignore[reportAttributeAccessIssue]
    most: int = config.max_position_embeddings - 2  # pyright: ignore[reportAttributeAccessIssue]
    shape = tensors.shapes[key]
    if len(shape) not in (1, 2) or shape[-1] != width:
        allowed = f"this model's word vectors are [n, {width}]"
        raise tensors.refuse(f"has {quoted(key)} of shape {list(shape)}; {allowed}")
    if len(shape) == 2 and not 1 <= shape[0] <= most:
        raise tensors.refuse(f"has {shape[0]} word vectors; 1 to {most} are allowed")
    return tensors.read(key).float().view(-1, width)


def _layers(tensors: TensorFile, model: LoadedModel) -> LoraFile | MergedFile:
    changes = read_changes(tensors, model)
    networks: list[dict[str, Change]] = [{} for _ in range(1 + len(model.text_encoders))]
    for parameter, change in changes.items():
        networks[parameter.network][parameter.name] = change
    lora = [
        {name.removesuffix(".weight"): layer for name, layer in network.items() if isinstance(layer, LoraLayer)}
        for network in networks
    ]
    vectors = [
        _vectors_by_row(changes, network) for changes, network in zip(networks, networks_of(model), strict=True)
    ]
    # Texts are encoded one at a time: there an embedding, too, can be changed for one request alone.
    embeddings = [
        _of_embeddings(changes, encoder) for changes, encoder in zip(networks[1:], model.text_encoders, strict=True)
    ]
    rank = max((layer.rank for network in lora for layer in network.values()), default=0)
    shared = sum(map(len, (*lora, *vectors, *embeddings)))
    if shared < len(changes) or rank > MAX_SLOT_RANK:
        return MergedFile(tensors.sha256, networks[0], tuple(networks[1:]))
    text = [{**of_one, **others} for of_one, others in zip(vectors[1:], embeddings, strict=True)]
    return LoraFile(tensors.sha256, lora[0], tuple(lora[1:]), rank, vectors[0], tuple(text))


def _vectors_by_row(changes: Mapping[str, Change], network: nn.Module) -> dict[str, WeightDifference]:
    """The differences of one dimension that rows of a batch can have for themselves."""
    return {
        name: change
        for name, change in changes.items()
        if isinstance(change, WeightDifference)
        and change.values.ndim == 1
        and has_vectors(network.get_submodule(name.rpartition(".")[0]))
    }


def _of_embeddings(changes: Mapping[str, Change], encoder: nn.Module) -> dict[str, WeightDifference | RowsDifference]:
    return {
        name: change
        for name, change in changes.items()
        if isinstance(change, WeightDifference | RowsDifference)
        and isinstance(encoder.get_submodule(name.rpartition(".")[0]), nn.Embedding)
    }
