import io
from datetime import UTC, datetime, timedelta

import pytest

from bot.playground import interactions as interactions_module
from bot.playground.interactions import Delivery, Interactions
from bot.playground.uploads import Upload
from bot.playground.world import World


class SetClock:
    """Replaces the world's clock with one that stands still until it is moved."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = datetime(2025, 1, 1, tzinfo=UTC)
        monkeypatch.setattr(world.clock, "now", lambda: self.time)


@pytest.fixture
def world() -> World:
    world = World("http://127.0.0.1:1")
    world.commands[None] = {("ping", 1): {"id": "1", "name": "ping", "type": 1, "description": "", "options": []}}
    return world


async def test_dropped_interactions_stay_usable_and_go_when_they_expire(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactions_module, "KEPT", 2)
    clock = SetClock(world, monkeypatch)
    interactions = Interactions(world, lambda _: None)

    def ping() -> Delivery:
        return interactions.command(world.people[0], world.guild.channel_ids[0], "ping", {}, {})

    first = ping()
    first.record.responded = True
    clock.time += timedelta(minutes=5)
    others = [ping() for _ in range(3)]
    assert world.interaction_by_token(first.record.token) is first.record  # as a late edit of its answer would
    clock.time += timedelta(minutes=11)
    last = ping()
    assert list(world.interactions) == [other.record.id for other in [*others, last]]
    assert list(world.interaction_tokens) == [other.record.token for other in [*others, last]]
    clock.time += timedelta(minutes=30)
    newest = ping()
    assert list(world.interactions) == [last.record.id, newest.record.id]


async def test_what_came_with_a_command_goes_with_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactions_module, "KEPT", 1)
    clock = SetClock(world, monkeypatch)
    option = {"name": "file", "type": 11, "description": ""}
    world.commands[None]["take", 1] = {"id": "2", "name": "take", "type": 1, "description": "", "options": [option]}
    interactions = Interactions(world, lambda _: None)
    released: list[str] = []
    world.attachments.release = released.extend

    def take() -> str:
        files = {"file": Upload("a.png", io.BytesIO(b"x"))}
        delivery = interactions.command(world.people[0], world.guild.channel_ids[0], "take", {}, files)
        (upload,) = delivery.payload["data"]["resolved"]["attachments"].values()
        return upload["url"]

    first = take()
    clock.time += timedelta(minutes=14)
    take()
    assert released == []
    clock.time += timedelta(minutes=2)
    take()
    assert released == [first]
