"""The training set, cached and live."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from training.base_model.autoencoder import encode, load_autoencoder, train_autoencoder
from training.base_model.configs import Config
from training.base_model.icons import IconSet
from training.base_model.pictures import arrange
from training.base_model.rows import (
    LiveRows,
    Rows,
    check_rows,
    draw_scenes,
    load_rows,
    make_rows,
    scene_table,
    subject_weights,
    tokenize,
)
from training.base_model.scenes import COLOURS, LAYOUTS, Scene
from training.base_model.subjects import Subject

CPU = torch.device("cpu")
LATENT_SHAPE = (4, 8, 8)


def test_scenes_show_only_icons_that_there_are(icon_set: IconSet) -> None:
    scenes = draw_scenes(icon_set.icons, 300, [1.0, 1.0, 1.0], np.random.default_rng(0))
    assert {(scene.subject, scene.style) for scene in scenes} == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)}


def test_weights_decide_how_often_a_subject_comes(icon_set: IconSet) -> None:
    drawn = Counter(each.subject for each in draw_scenes(icon_set.icons, 3000, [1, 1, 2], np.random.default_rng(0)))
    assert 0.46 < drawn[2] / 3000 < 0.54


def test_subjects_that_the_model_to_start_from_lacks_come_more_often(icon_set: IconSet) -> None:
    assert subject_weights(icon_set.subjects, None) == [1, 1, 1]
    fox, apple, sun = subject_weights(icon_set.subjects, ("fox", "sun"))
    assert apple > fox == sun == 1


def test_a_scene_in_numbers() -> None:
    table = scene_table([Scene(7, 3, "gray", True, "two")])
    assert table.tolist() == [[7, 3, list(LAYOUTS).index("two"), COLOURS.index("gray")]]


def test_captions_are_tokenized_beside_their_scenes(work: Path) -> None:
    scenes = [Scene(number % 2, 0, "blue", True) for number in range(50)]
    ids = tokenize(
        scenes,
        [Subject("fox", ("fox",)), Subject("bus", ("bus",))],
        ("noto",),
        work / "tokenizer",
        np.random.default_rng(0),
    )
    assert ids.shape == (50, 4, 32)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    for number, four in enumerate(ids):
        texts = tokenizer.batch_decode(four.tolist(), skip_special_tokens=True)
        assert not any(("bus", "fox")[number % 2] in text for text in texts)
    every = " ".join(tokenizer.batch_decode(ids.flatten(0, 1).tolist(), skip_special_tokens=True))
    assert "fox" in every
    assert "bus" in every


def test_batches_pair_latents_with_their_own_captions() -> None:
    numbers = torch.arange(10)
    rows = Rows(numbers.view(-1, 1, 1, 1).half(), (numbers * 100)[:, None, None] + torch.arange(4)[None, :, None])
    latents, token_ids = rows.batch(64, CPU)
    assert latents.dtype == torch.float32
    assert (token_ids.flatten() // 100 == latents.flatten().long()).all()
    assert len(token_ids.flatten().unique()) > 20


def test_cached_rows_are_the_scenes_encoded(work: Path, tiny: Config, icon_set: IconSet) -> None:
    make_rows(work, icon_set, tiny, None, live=False)
    rows = load_rows(work, icon_set, tiny, CPU)
    assert isinstance(rows, Rows)
    assert rows.latents.shape == (20, *LATENT_SHAPE)
    content = torch.load(work / "rows.pt", weights_only=True)
    subject, style, layout, background = content["scenes"].long().unbind(-1)
    pictures = arrange(icon_set.icons[subject, style], layout, background, 16, torch.Generator().manual_seed(0))
    model = load_autoencoder(work)
    with torch.no_grad():
        wanted = encode(model, pictures) * model.config["scaling_factor"]
    assert torch.allclose(rows.latents.float(), wanted, atol=1e-2)


def test_live_rows_change_and_keep_their_captions(work: Path, tiny: Config, icon_set: IconSet) -> None:
    make_rows(work, icon_set, tiny, None, live=True)
    rows = load_rows(work, icon_set, tiny, CPU)
    assert isinstance(rows, LiveRows)
    before, token_ids = rows.rows.latents.clone(), rows.rows.token_ids.clone()
    latents, said = rows.batch(80, CPU)  # draws 10 anew
    assert latents.shape == (80, *LATENT_SHAPE)
    assert said.shape == (80, 32)
    changed = (rows.rows.latents != before).flatten(1).any(1)
    assert changed.tolist() == [True] * 10 + [False] * 10
    rows.batch(80, CPU)
    assert (rows.rows.latents != before).flatten(1).any(1).all()
    assert torch.equal(rows.rows.token_ids, token_ids)


@pytest.mark.parametrize("live", [False, True])
def test_rows_of_something_else_are_refused(work: Path, tiny: Config, icon_set: IconSet, live: bool) -> None:
    make_rows(work, icon_set, tiny, None, live=live)
    check_rows(work, icon_set, tiny)
    with pytest.raises(RuntimeError, match=r"rows.pt .*another configuration: delete it and checkpoint.pt"):
        load_rows(work, icon_set, replace(tiny, name="large"), CPU)
    repainted = icon_set.icons.clone()
    repainted[0, 0, 0, 8, 8] += 1
    renamed = (Subject("fox", ("vixen",)), *icon_set.subjects[1:])
    for changed in (replace(icon_set, icons=repainted), replace(icon_set, subjects=renamed)):
        with pytest.raises(RuntimeError, match=r"another icons.pack: delete"):
            load_rows(work, changed, tiny, CPU)


def test_rows_that_do_not_say_what_they_are_made_of_are_refused(work: Path, tiny: Config, icon_set: IconSet) -> None:
    make_rows(work, icon_set, tiny, None, live=True)
    content = torch.load(work / "rows.pt", weights_only=True)
    del content["made_of"]
    torch.save(content, work / "rows.pt")
    with pytest.raises(RuntimeError, match=r"another configuration and icons.pack: delete"):
        check_rows(work, icon_set, tiny)


def test_cached_latents_need_their_encoder_but_any_decoder(work: Path, tiny: Config, icon_set: IconSet) -> None:
    make_rows(work, icon_set, tiny, None, live=False)
    train_autoencoder(work, icon_set, tiny, minutes=0.002, device=CPU, decoder_only=True)
    check_rows(work, icon_set, tiny)
    train_autoencoder(work, icon_set, tiny, minutes=0.002, device=CPU)
    with pytest.raises(RuntimeError, match="another autoencoder: delete"):
        check_rows(work, icon_set, tiny)


def test_live_rows_are_encoded_by_whatever_encoder_there_is(work: Path, tiny: Config, icon_set: IconSet) -> None:
    make_rows(work, icon_set, tiny, None, live=True)
    train_autoencoder(work, icon_set, tiny, minutes=0.002, device=CPU)
    check_rows(work, icon_set, tiny)
