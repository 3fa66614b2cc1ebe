import pytest
from simcord.backend.models import AllowedMentions

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


@pytest.mark.parametrize(
    ("policy", "notified"),
    [
        (AllowedMentions(), {"robin", "sascha", "everyone"}),  # no `allowed_mentions`: everything that is written
        (AllowedMentions(everyone=False, users=frozenset(), roles=frozenset()), set[str]()),
        (AllowedMentions(everyone=False, roles=frozenset()), {"robin"}),
        (AllowedMentions(everyone=False, users=frozenset()), {"sascha"}),
    ],
)
def test_allowed_mentions_decide_who_is_notified(policy: AllowedMentions, notified: set[str]) -> None:
    """ "allowed_mentions" suppress the notification, not the text; an app with the permission may ping roles."""
    world = World("http://127.0.0.1:1")
    _, robin, _ = world.people
    moderators = next(role.id for role in world.guild.roles.values() if role.name == "Moderator")
    text = f"<@{robin}> <@&{moderators}> @everyone"
    studio = world.guild.channel_ids[0]
    message = world.create_message(studio, world.bot_user.id, text, allowed_mentions=policy)
    pings = {world.users[int(number)].name for number in world.pings(message)}
    assert pings == ({"you", "robin", "sascha", "Atelier"} if "everyone" in notified else notified)


def test_a_forwarded_attachment_is_kept_until_nobody_shows_it() -> None:
    world = World("http://127.0.0.1:1")
    studio, general, *_ = world.guild.channel_ids
    released: list[str] = []
    world.attachments.release = released.extend
    files = world.store_attachments(studio, [("a.png", b"x")])
    source = world.create_message(studio, world.people[0], "", attachments=files)
    reference = {"type": 1, "channel_id": str(studio), "message_id": str(source.id)}
    forward = world.create_message(general, world.people[0], "", reference=reference)
    world.delete_message(studio, source.id)
    assert released == []
    world.delete_message(general, forward.id)
    assert released == [files[0]["url"]]


def test_a_deleted_channel_releases_what_it_showed() -> None:
    world = World("http://127.0.0.1:1")
    studio = world.guild.channel_ids[0]
    released: list[str] = []
    world.attachments.release = released.extend
    thread = world.create_thread(studio, "Foxes", world.people[0]).id
    links: list[str] = []
    for channel in (thread, studio):
        files = world.store_attachments(channel, [("a.png", b"x")])
        world.create_message(channel, world.people[0], "", attachments=files)
        links.append(files[0]["url"])
    world.delete_channel(studio)
    assert released == links
