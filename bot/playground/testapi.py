"""The part of the page's API that tests use: what can go wrong, time, and more people. See `pageapi.py`.

GET  /log                            the bot's last 1000 REST calls: {at, method, path, status, ms, invalid};
                                     status 0 is a connection that was reset; `invalid` counts the 401, 403
                                     and 429 of the last 10 minutes (Discord bans the address of a bot that
                                     reaches 10,000)
POST /faults                         one fault, or {"chaos": {…}} until it is cleared, see `faults.py`
GET  /faults                         {waiting, chaos, injected: {kind: how often}}
DELETE /faults                       forgets them all
POST /gateway                        {"do": "drop" | "reconnect" | "invalidate"}
POST /clock                          {"advance": seconds} moves the server's clock forward: attachment links,
                                     interaction tokens, nonces, sessions that wait to be resumed, new ids and
                                     timestamps. The bot's own clock stays. Answers {now: ISO time}
POST /members                        {"count": n} adds n members; answers them
POST /channels                       {"count": n} or {"name": …, "nsfw": false} adds text channels; answers them
POST /channels/{id}/permissions      {"deny": ["send_messages", …]} for the bot, [] allows all again; a thread
                                     has its parent's. In direct messages: the member takes none (50007)
DELETE /channels/{id}
"""

from typing import Any

import discord
import msgspec
from aiohttp import web
from simcord.backend import serializers
from simcord.backend.models import Overwrite
from simcord.enums import OverwriteType

from bot.playground.gateway import Gateway
from bot.playground.options import Refused
from bot.playground.pageapi import BASE
from bot.playground.rest import Rest
from bot.playground.world import World

MOST_AT_ONCE = 1000


class TestApi:
    """The handlers. `routes` says which is where."""

    def __init__(self, world: World, rest: Rest, gateway: Gateway) -> None:
        self._world = world
        self._rest = rest
        self._gateway = gateway

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{BASE}/log", self.log),
            web.post(f"{BASE}/faults", self.add_fault),
            web.get(f"{BASE}/faults", self.faults),
            web.delete(f"{BASE}/faults", self.clear_faults),
            web.post(f"{BASE}/gateway", self.disturb),
            web.post(f"{BASE}/clock", self.advance),
            web.post(f"{BASE}/members", self.add_members),
            web.post(f"{BASE}/channels", self.add_channels),
            web.post(BASE + r"/channels/{channel:\d+}/permissions", self.permissions),
            web.delete(BASE + r"/channels/{channel:\d+}", self.delete_channel),
        ]

    async def log(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self._rest.log))

    async def add_fault(self, request: web.Request) -> web.Response:
        try:
            self._rest.faults.order(await request.read())
        except msgspec.DecodeError as error:
            raise Refused(f"That is not a fault: {error}.") from error
        return web.json_response({})

    async def faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._rest.faults.describe())

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._rest.faults.clear()
        return web.json_response({})

    async def disturb(self, request: web.Request) -> web.Response:
        await self._gateway.disturb((await request.json())["do"])
        return web.json_response({})

    async def advance(self, request: web.Request) -> web.Response:
        seconds: object = (await request.json()).get("advance")
        if not isinstance(seconds, int | float) or seconds < 0:
            raise Refused("`advance` is a number of seconds, 0 or more.")
        self._world.wall.advance(seconds)
        self._world.archive_idle()
        return web.json_response({"now": self._world.now_iso()})

    async def add_members(self, request: web.Request) -> web.Response:
        world, added = self._world, list[dict[str, Any]]()
        for _ in range(self._count(await request.json())):
            number = len(world.guild.members)
            user = world.make_user(f"member-{number}", global_name=f"Member {number}")
            world.add_member(world.guild.id, user.id, announce=True)
            added.append(dict(serializers.user_payload(user)))
        return web.json_response(added)

    async def add_channels(self, request: web.Request) -> web.Response:
        world, sent, added = self._world, await request.json(), list[dict[str, Any]]()
        for _ in range(self._count(sent)):
            name = str(sent.get("name") or f"channel-{len(world.guild.channel_ids) + 1}")
            channel = world.create_channel(world.guild.id, name, announce=False)
            if sent.get("nsfw"):
                world.age_restricted.add(channel.id)
            world.emit("CHANNEL_CREATE", world.channel(channel.id))
            added.append(world.channel(channel.id))
        return web.json_response(added)

    def _count(self, sent: dict[str, Any]) -> int:
        number: object = sent.get("count", 1)
        if not isinstance(number, int) or not 1 <= number <= MOST_AT_ONCE:
            raise Refused(f"`count` is a number from 1 to {MOST_AT_ONCE}.")
        return number

    async def permissions(self, request: web.Request) -> web.Response:
        asked = self._world.get_channel(int(request.match_info["channel"]))
        channel = self._world.get_channel(asked.permission_channel_id())
        names: list[str] = (await request.json())["deny"]
        if channel.guild_id is None:
            closed = self._world.closed_channels
            (closed.add if "send_messages" in names else closed.discard)(channel.id)
            return web.json_response({})
        denied = discord.Permissions(**dict.fromkeys(names, True)).value
        channel.overwrites = [Overwrite(self._world.bot_user.id, OverwriteType.MEMBER, deny=denied)]
        self._world.announce_channel_update(channel.id)
        return web.json_response({})

    async def delete_channel(self, request: web.Request) -> web.Response:
        self._world.delete_channel(int(request.match_info["channel"]))
        return web.json_response({})
