"""What is said of photos: sentences, names, and which are the same picture twice."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from training.photos import (
    Fingerprint,
    Looked,
    PhotoStatus,
    PhotoVerdict,
    file_name,
    too_few,
    too_large,
    usable,
    verdicts_on,
)

ONES = "f" * 64
GREY = bytes([128]) * 192


def looked(mark: int, *, fixed: list[str] | None = None, warnings: list[str] | None = None) -> Looked:
    """A photo like no other with another `mark`."""
    print_ = Fingerprint(f"{mark:x}" * 64, ONES, GREY)
    return Looked(png=b"x", width=9, height=8, fixed=fixed or [], warnings=warnings or [], fingerprint=print_)


def verdicts_of(*looks: Looked) -> list[PhotoVerdict]:
    names = "abcdefgh"[: len(looks)]
    return verdicts_on(list(names), looks, [Path(f"{index}.png") for index in range(len(looks))])


@pytest.mark.parametrize(
    ("fixed", "warnings", "status", "sentence"),
    [
        ([], [], "accepted", "Used."),
        (["turning it upright"], [], "fixed", "Used, after turning it upright."),
        (["this", "that", "more"], [], "fixed", "Used, after this, that and more."),
        (["this"], ["it looks blurred"], "warned", "Used, after this, but it looks blurred."),
        ([], ["it is dark", "it looks blurred"], "warned", "Used, but it is dark and it looks blurred."),
    ],
)
def test_one_sentence_for_each(fixed: list[str], warnings: list[str], status: str, sentence: str) -> None:
    (verdict,) = verdicts_of(looked(1, fixed=fixed, warnings=warnings))
    assert verdict == PhotoVerdict(
        name="a", status=PhotoStatus(status), sentence=sentence, path=Path("0.png"), width=9, height=8
    )


def test_the_first_of_two_is_used() -> None:
    verdicts = verdicts_of(looked(1), looked(2), looked(1), looked(1))
    assert [verdict.status for verdict in verdicts] == ["accepted", "accepted", "rejected", "rejected"]
    assert verdicts[2].sentence == verdicts[3].sentence == "Not used: it is the same picture as “a”."
    assert usable(verdicts) == [Path("0.png"), Path("1.png")]


@pytest.mark.parametrize(("bits", "far"), [(20, False), (40, True)])
def test_near_is_a_matter_of_bits(bits: int, far: bool) -> None:
    first = Fingerprint("0" * 64, ONES, GREY)
    other = Fingerprint(f"{(1 << bits) - 1:064x}", "0" * 64, GREY)
    verdict = verdicts_of(Looked(fingerprint=first), Looked(fingerprint=other))[1]
    assert (verdict.status == "accepted") is far


def test_the_same_shapes_in_other_colours_are_another_photo() -> None:
    """A perceptual hash sees brightness only: a red mug and a green one can have the same."""
    red, green = bytes([200, 0, 0]) * 64, bytes([0, 102, 0]) * 64
    verdicts = verdicts_of(*(Looked(fingerprint=Fingerprint("1" * 64, ONES, colours)) for colours in (red, green)))
    assert [verdict.status for verdict in verdicts] == ["accepted", "accepted"]


def test_a_rejected_one_is_nobodys_twin() -> None:
    refused = Looked(refused="This picture is damaged or cut off.")
    verdicts = verdicts_of(refused, refused, looked(1))
    assert [verdict.sentence for verdict in verdicts[:2]] == ["Not used: this picture is damaged or cut off."] * 2
    assert verdicts[2].status == "accepted"


@pytest.mark.parametrize(
    ("marks", "says"),
    [([], "none of these"), ([1], "only one of these"), ([1, 2, 2], "only 2 of these"), ([1, 2, 3], None)],
)
def test_three_different_ones_are_needed(marks: list[int], says: str | None) -> None:
    sentence = too_few(verdicts_of(*map(looked, marks)))
    assert sentence == (
        says and f"A training needs at least 3 different photos, and {says} can be used: send some more."
    )


def test_a_large_file_is_refused_before_it_is_downloaded() -> None:
    assert too_large("a.png", 20 * 2**20) is None
    verdict = too_large("x/a.png", 500_000_000)
    assert verdict is not None
    assert (verdict.name, verdict.sentence) == ("a.png", "Not used: the file has 477 MiB, and 20 MiB is the most.")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("gnp.\u202etac.exe", "gnp.tac.exe"),
        ("two\nlines\x1b[31m\x00.png", "two lines[31m.png"),
        ("..", "photo"),
        ("", "photo"),
        ("x/", "photo"),
        ("katze für oma.png", "katze für oma.png"),
        ("a" * 80, "a" * 59 + "…"),
    ],
)
def test_names_are_only_shown(name: str, shown: str) -> None:
    assert file_name(name) == shown


@pytest.mark.parametrize(
    "broken", [("zz", ONES, GREY), ("1" * 65, ONES, GREY), (ONES, "", GREY), (ONES, ONES, GREY[1:])]
)
def test_a_process_gone_mad_is_not_believed(broken: tuple[str, str, bytes]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(
            msgspec.msgpack.encode({"fingerprint": dict(zip(("hash", "mirrored", "colours"), broken, strict=True))}),
            type=Looked,
        )
