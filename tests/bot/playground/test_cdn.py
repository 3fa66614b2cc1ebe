import io
from typing import Any

import pytest
from PIL import Image

from bot.playground import cdn
from bot.playground.cdn import AttachmentStore, picture_size, safe_name


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a b.png", "a_b.png"), ("../../etc/passwd", "passwd"), ("C:\\x\\y.png", "y.png"), ("…", "_"), ("", "file")],
)
def test_safe_name(given: str, kept: str) -> None:
    assert safe_name(given) == kept


def test_picture_size_reads_only_the_header() -> None:
    assert picture_size(png(30, 20)) == (30, 20)
    assert picture_size(png(9000, 9000)) == (9000, 9000)
    assert picture_size(b"no picture") is None


def test_replaced_pictures_are_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store = AttachmentStore("http://127.0.0.1:1")
    old = store.store_attachment(1, 2, "old.png", png(1, 1), "alt")
    assert (old["description"], old["content_type"]) == ("alt", "image/png")
    store.release([old["url"]])
    store.store_attachment(2, 2, "new.png", b"x", None)
    assert store.get(old["url"]) is not None
    monkeypatch.setattr(cdn, "GRACE_SECONDS", -1.0)
    store.store_attachment(3, 2, "newer.png", b"x", None)
    assert store.get(old["url"]) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdn, "MAX_BYTES", 100)
    store = AttachmentStore("http://127.0.0.1:1")
    kept: list[Any] = [store.store_attachment(n, 2, "a.bin", bytes(60), None)["url"] for n in range(3)]
    assert [store.get(url) is not None for url in kept] == [False, False, True]
