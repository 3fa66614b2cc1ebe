"""Wrong input and wrong set-up: one clear sentence each, and the bot goes on."""

import io
import sqlite3
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.house import House, Process


def enormous_png() -> bytes:
    """A valid header that promises 9,000 × 9,000 pixels, and next to nothing behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 27001)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


async def answer_to(house: House, prompt: str = "a fox", image: Path | None = None, **options: object) -> str:
    """What the member who asked reads."""
    files = {"image": image} if image else None
    answer = await house.imagine(prompt, files=files, **options)
    if "error" in answer:
        return str(answer["error"])  # refused by the chat itself, as Discord's own client does
    said = ""

    async def answered() -> bool:  # "thinking …" comes first where the bot has work to do before it can say more
        nonlocal said
        [message] = [m for m in await house.messages() if m["id"] == answer["message"]]
        said = str(message["content"])
        return bool(said)

    await house.until(answered, "the answer to wrong input")
    return said


async def test_each_mistake_gets_one_sentence_and_the_bot_goes_on(house: House, tmp_path: Path) -> None:
    text, huge = tmp_path / "notes.png", tmp_path / "huge.png"
    text.write_text("not a picture")
    huge.write_bytes(enormous_png())

    said = {
        "guidance 99": await answer_to(house, guidance=99),
        "strength alone": await answer_to(house, strength=0.5),
        "6,000 characters": await answer_to(house, prompt="fox " * 1500),
        "text as image": await answer_to(house, image=text),
        "81 megapixels": await answer_to(house, image=huge),
    }

    for expected, what in (
        ("30", "guidance 99"),
        ("image", "strength alone"),
        ("2,000", "6,000 characters"),
        ("PNG, JPEG", "text as image"),
        ("40", "81 megapixels"),
    ):
        assert expected in said[what], f"{what}: {said[what]}"
    for what, sentence in said.items():
        assert 10 < len(sentence) < 300, f"{what}: {sentence}"
        assert "Traceback" not in sentence
    assert await house.public() == []

    await house.imagine("a fox for @everyone **now**", steps=2)
    [message] = await house.until_pictures(1)
    assert not message["mention_everyone"]
    assert "**now**" not in message["content"], "markdown in a prompt is escaped"
    image = Image.open(io.BytesIO(await house.download(message["attachments"][0])))
    assert image.size[0] >= 64


async def test_a_locked_database_is_one_sentence_and_passes(house: House) -> None:
    [database] = house.databases()
    with sqlite3.connect(database, isolation_level=None) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        sentence = await answer_to(house)
        blocker.execute("ROLLBACK")
    assert "locked" in sentence
    await house.imagine("a fox", steps=2)
    await house.until_pictures(1)


async def test_two_bots_on_one_data_folder(house: House) -> None:
    first, house.bot = house.bot, house.bot
    await house.start_bot(wait=False)
    second, house.bot = house.bot, first
    assert second.process is not None
    assert await second.process.wait() == 2
    assert "already uses the data folder" in second.log.read_text()
    assert first.alive


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "ATELIER_DISCORD_TOKEN is not set"),
        ({"ATELIER_QUEUE_PER_MEMBER": "many"}, "ATELIER_QUEUE_PER_MEMBER is 'many'"),
        ({"ATELIER_MODLE": "x"}, "did you mean ATELIER_MODEL"),
    ],
)
async def test_a_wrong_setting_stops_the_start(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    bot = Process(["bot", "run"], tmp_path, **settings)
    await bot.start()
    assert bot.process is not None
    assert await bot.process.wait() == 2
    said = bot.log.read_text()
    assert sentence in said
    assert "Traceback" not in said


async def test_an_unknown_model_is_told_to_members_and_the_operator(open_house: House) -> None:
    house = open_house
    await house.open(ATELIER_MODEL="no/such/folder")
    await house.imagine("a fox")

    async def told() -> bool:
        return any("model" in m["content"].lower() for m in await house.messages())

    async def logged() -> bool:
        return "no/such/folder" in house.bot.log.read_text()

    await house.until(told, "the reason why nothing is drawn")
    await house.until(logged, "the operator's line in the log")
    assert (await house.command("info"))["state"] == "answered"
