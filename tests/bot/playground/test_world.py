import pytest

from bot.playground import world as world_module
from bot.playground.world import World


def test_the_seeded_world_has_the_same_ids_every_time() -> None:
    first, second = World("http://127.0.0.1:1"), World("http://127.0.0.1:2")
    assert first.guild.id == second.guild.id
    assert first.guild.channel_ids == second.guild.channel_ids
    assert first.people == second.people
    assert first.bot_user.id == second.bot_user.id
    assert [first.channels[n].name for n in first.guild.channel_ids] == ["studio", "general", "after-dark"]


def test_records_and_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_module, "MESSAGES_PER_CHANNEL", 5)
    world = World("http://127.0.0.1:1")
    studio = world.guild.channel_ids[0]
    for number in range(400):
        world.create_message(studio, world.people[0], str(number))
    assert [message.content for message in world.messages[studio].values()] == ["395", "396", "397", "398", "399"]
    assert len(world.transcript) == 300


def test_a_replaced_attachment_is_released() -> None:
    world = World("http://127.0.0.1:1")
    studio = world.guild.channel_ids[0]
    released: list[str] = []
    world.attachments.release = released.extend
    files = world.store_attachments(studio, [("a.png", b"x"), ("b.png", b"y")])
    message = world.create_message(studio, world.bot_user.id, "", attachments=files)
    world.edit_message(studio, message.id, {"attachments": files[1:]})
    assert released == [files[0]["url"]]
    world.delete_message(studio, message.id)
    assert released == [files[0]["url"], files[1]["url"]]
