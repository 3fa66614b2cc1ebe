"""What may be kept as a concept's file. The files are written by safetensors itself, or broken by hand."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from bot.concept_file import examined
from bot.errors import ConceptFileRefused
from training.order import Method

WORDS = {"<cat>": np.zeros((2, 8), np.float32)}
LORA = {
    "lora_unet_mid_block_proj.lora_down.weight": np.ones((4, 8), np.float16),
    "lora_unet_mid_block_proj.lora_up.weight": np.ones((8, 4), np.float16),
    "lora_unet_mid_block_proj.alpha": np.ones((), np.float32),
}


def by_hand(header: object, numbers: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def test_what_kind_it_is() -> None:
    assert examined(save(WORDS, {"made": "somewhere"})).method is Method.TEXTUAL_INVERSION
    two = {"clip_l": np.zeros((2, 8), np.float32), "clip_g": np.zeros((2, 16), np.float32)}
    assert examined(save(two)).method is Method.TEXTUAL_INVERSION
    assert examined(save({"emb_params": np.zeros((1, 8), np.float32)})).method is Method.TEXTUAL_INVERSION
    assert examined(save(LORA)).method is Method.LORA
    one = {"unet.mid_block.attn.to_q.lora_A.weight": np.ones((4, 8), np.float32)}
    assert examined(save(one)).method is Method.LORA
    assert examined(save(LORA)).trigger("dog") == "dog"
    assert examined(save(WORDS)).trigger("dog") == ""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a whole"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"PK\x03\x04" + bytes(100), "pickle or a zip"),
        (b"%PDF-1.7 and so on", "not a whole"),
        (b"\xff" * 64, "not a whole"),
        (by_hand(b"[" * 100_000), "not a whole"),
        (by_hand([1, 2]), "not a whole"),
        (by_hand({}), "0 tensors"),
        (by_hand({"a": 3}), "header"),
        (by_hand({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4)), "header"),
        (by_hand({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, bytes(4)), "header"),
        (by_hand({"a": {"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]}}, bytes(4)), "header"),
        (by_hand({"a": {"dtype": "F32", "shape": [10**4000], "data_offsets": [0, 4]}}, bytes(4)), "header"),
        (by_hand({"a": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "header"),
        (by_hand({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "size"),
        (by_hand({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)), "cut off"),
        (save(LORA)[:-2], "cut off"),
        (save(LORA) + b"PK", "cut off"),
        (save({"model.diffusion_model.x.weight": np.zeros(4, np.float32)}), "whole model"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ConceptFileRefused, match=why):
        examined(data)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(dtype: type, value: float) -> None:
    numbers = np.zeros(1000, dtype)
    numbers[617] = value
    with pytest.raises(ConceptFileRefused, match="not finite"):
        examined(save({"a.lora_A.weight": numbers}))


def test_the_largest_finite_numbers_pass() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        most = np.finfo(dtype).max
        examined(save({"a.lora_A.weight": np.array([most, -most, np.finfo(dtype).tiny], dtype)}))


def test_brain_floats() -> None:
    """BF16 is the upper half of an F32."""
    header = {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    for value, fine in ((1.5, True), (3e38, True), (np.inf, False), (np.nan, False)):
        half = np.array([value], "<f4").tobytes()[2:]
        data = by_hand(header, bytes(2) + half)
        if fine:
            examined(data)
        else:
            with pytest.raises(ConceptFileRefused, match="not finite"):
                examined(data)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, len(save(LORA)) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_never_surprises(position: int, byte: int) -> None:
    data = bytearray(save(LORA))
    data[position] = byte
    with suppress(ConceptFileRefused):  # nothing else is ever raised
        examined(bytes(data))
