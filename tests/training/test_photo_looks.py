"""Where the square is cut, what looks blurred, and what makes two pictures the same."""

from __future__ import annotations

import io
import itertools
import random

import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from tests.training.odd_photos import encoded, photo
from training.photo_looks import blur_of, fingerprint_of, is_one_colour, look_at_photo, square_of
from training.photos import Fingerprint


def scene(size: tuple[int, int], at: tuple[int, int], radius: int = 25) -> Image.Image:
    image = Image.new("RGB", size, (200, 210, 200))
    x, y = at
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill="red")
    return image


@pytest.mark.parametrize("x", [30, 90, 150, 210, 270])
def test_the_square_holds_what_stands_out(x: int) -> None:
    left, top, right, bottom = square_of(scene((300, 100), (x, 50)))
    assert (top, bottom, right - left) == (0, 100, 100)
    assert left <= x - 25 + 2
    assert x + 25 - 2 <= right
    turned = square_of(scene((100, 300), (50, x)))
    assert turned[1] <= x - 23
    assert x + 23 <= turned[3]


@pytest.mark.parametrize("size", [(300, 100), (100, 300), (100, 100), (101, 100), (5000, 70)])
def test_with_nothing_to_choose_it_is_the_middle(size: tuple[int, int]) -> None:
    left, top, right, bottom = square_of(Image.new("RGB", size, "grey"))
    width, height = size
    side = min(size)
    assert (right - left, bottom - top) == (side, side)
    assert abs((left + right) - width) <= max(2, width // 16)
    assert abs((top + bottom) - height) <= max(2, height // 16)


@pytest.mark.parametrize("seed", range(4))
def test_blurring_is_seen(seed: int) -> None:
    sharp = photo(seed, (256, 256))
    assert blur_of(sharp) < 0.35
    assert blur_of(sharp.filter(ImageFilter.GaussianBlur(3))) > 0.7
    assert blur_of(Image.new("RGB", (64, 64), "grey")) == 0


def test_a_small_thing_on_a_plain_ground_is_not_one_colour() -> None:
    assert is_one_colour(Image.new("RGB", (200, 200), "white"))
    assert not is_one_colour(scene((200, 200), (100, 100), 6))


def bits(one: Fingerprint, other: Fingerprint) -> int:
    return (int(one.hash, 16) ^ int(other.hash, 16)).bit_count()


def test_views_of_one_subject_are_different_photos() -> None:
    """The same thing on other grounds, at other places and sizes: what a good set of photos is made of."""
    prints = []
    for seed in range(12):
        chance = random.Random(seed)
        ground = Image.new("RGB", (256, 256), tuple(chance.randrange(256) for _ in range(3)))
        side = chance.randrange(90, 180)
        ground.paste(photo(70, (side, side)), (chance.randrange(256 - side), chance.randrange(256 - side)))
        prints.append(fingerprint_of(ground))
    nearest = min(bits(one, other) for one, other in itertools.combinations(prints, 2))
    assert nearest > 40


def test_a_mirror_image_has_the_mirrored_hash() -> None:
    one, other = fingerprint_of(photo(3)), fingerprint_of(ImageOps.mirror(photo(3)))
    assert other.hash == one.mirrored
    assert bits(one, other) > 80


def test_a_small_photo_is_enlarged_and_said_so() -> None:
    looked = look_at_photo(encoded(photo(1, (70, 80)), "PNG"), 128)
    assert looked.warnings == ["its shorter side has only 70 pixels of the 128 that are best"]
    with Image.open(io.BytesIO(looked.png)) as square:
        assert square.size == (128, 128)
