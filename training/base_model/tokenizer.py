"""A CLIP-style byte-pair vocabulary of at most 4,096 entries that stock ``CLIPTokenizer`` loads.

Laid out as CLIP's (https://github.com/openai/CLIP, ``simple_tokenizer.py``): 256 bytes, the same 256 ending
a word, one entry per merge, then the two special tokens. All bytes are there, so no text is ever unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from training.base_model.captions import caption
from training.base_model.names import emojibase_texts
from training.base_model.scenes import BACKGROUNDS, draw_scene
from training.base_model.subjects import Subject, rare_tokens

VOCABULARY_SIZE = 4096
MODEL_MAX_LENGTH = 32
END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
CAPTION_SAMPLES = 20_000
WORD_REPEATS = 50  # so that these words are entries of their own although emojibase hardly has them

WORDS = """
a an and the of on in at with without to for by from over under above below behind before beside between
left right top bottom middle center centre corner side front facing upside down flipped mirrored turned rotated
one two three four five six pair of many several single small tiny little big large huge tall short wide
white black red orange yellow green blue purple violet pink gray grey brown cyan teal turquoise magenta gold
golden silver beige cream navy lime maroon dark light bright pale pastel deep vivid colourful colorful plain
background backgrounds backdrop colour color coloured colored gradient striped dotted pattern transparent
icon icons pictogram emoji picture pictures image photo photograph drawing painting illustration sketch logo
sticker symbol sign cartoon render rendering crop cropped close closeup portrait scene view
style noto fluent flat twemoji glossy shiny outlined minimal simple clean detailed realistic watercolor
cute nice pretty beautiful funny happy sad angry sleepy good cool weird dirty old new young baby my your
wearing holding eating riding sitting standing flying sleeping running smiling hat glasses scarf
animal toy person man woman thing object food fruit plant flower vehicle building
"""


def training_texts(packages: Path, subjects: Sequence[Subject], styles: Sequence[str]) -> Iterable[str]:
    """What the merges are learned from: emojibase's words, sampled captions and the words above."""
    for text in emojibase_texts(packages / "emojibase-data"):
        yield text.replace("_", " ")
    rng = np.random.default_rng(0)
    for number in range(CAPTION_SAMPLES):
        which = number % len(subjects)
        style = styles[number % len(styles)] if len(styles) > 1 else None
        yield caption(draw_scene(which, 0, rng), subjects[which], style, rng)
    names = [name for subject in subjects for name in subject.names]
    for _ in range(WORD_REPEATS):
        yield from (WORDS, " ".join(BACKGROUNDS), " ".join(names))


def learn_merges(texts: Iterable[str]) -> list[tuple[str, str]]:
    """More byte-pair merges than needed, the most useful first, with CLIP's lower-casing and word splitting."""
    stock = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.normalizer = normalizers.Sequence([stock.normalizer])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([stock.pre_tokenizer])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE * 2, min_frequency=2, end_of_word_suffix=END_OF_WORD, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [(first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"]]


def merges_of(word: str) -> list[tuple[str, str]]:
    """Merges that glue a word together letter by letter from the left."""
    ends = [*word[:-1], word[-1] + END_OF_WORD]
    return [("".join(ends[:position]), ends[position]) for position in range(1, len(ends))]


def build_vocabulary(texts: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """``vocab.json`` and ``merges.txt`` as CLIP has them; rare tokens come last, where they disturb nothing."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    rare = [merge for word in rare_tokens() for merge in merges_of(word)]
    rare_entries = list(dict.fromkeys("".join(merge) for merge in rare))
    learned = dict.fromkeys(letters)
    merges: list[tuple[str, str]] = []
    for merge in learn_merges(texts):
        if len(learned) + len(rare_entries) + len((START, END)) == VOCABULARY_SIZE:
            break
        if "".join(merge) not in rare_entries:
            merges.append(merge)
            learned["".join(merge)] = None  # two merges can lead to the same entry
    entries = [*learned, *rare_entries, START, END]
    return {entry: number for number, entry in enumerate(entries)}, [*merges, *rare]


def save_tokenizer(texts: Iterable[str], folder: Path) -> None:
    """Learn from ``texts`` and write the files that ``CLIPTokenizer.from_pretrained(folder)`` needs."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = build_vocabulary(texts)
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MODEL_MAX_LENGTH,
        "add_prefix_space": False,
        "do_lower_case": True,
        **special,
    }
    write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", special)


def write_json(file: Path, content: object) -> None:
    """Readable JSON with a final newline."""
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
