"""The page's own API under `/playground/api`, also used by tests. Everything is JSON unless said.

`user` is a member's id, default the owner ("You"). Errors are `{"error": sentence, "option": name or null}`
with status 400 or 404.

    GET  /state                          server, members, channels, commands, the bot and whether it is there
    GET  /channels/{id}/messages         ?user= &limit=50 &before=ID   oldest first, as that member sees them
    POST /channels/{id}/messages         {user, content, reply_to} or multipart: payload_json + files
    DELETE /channels/{id}/messages/{id}  as the server's owner
    POST /interactions                   what a member does; ?wait=0 answers before the bot does
         {type: "command", user, channel, name, options}              attachments: multipart, the form field
                                                                      is called like the option
         {type: "autocomplete", user, channel, name, options, focused, value}
         {type: "component", user, channel, message, custom_id, values?}
         {type: "context", user, channel, name, message}              a message command
         {type: "modal", user, interaction, values}                   files: the field is the custom_id
    GET  /interactions/{id}              {id, state: waiting|answered|failed, answer, answered_ms, message,
                                          ephemeral, modal, choices}
    POST /interactions/{id}/redeliver    the same event once more
    GET  /events                         ?user=   server-sent events, see `events.py`

For tests of what can go wrong:

    GET  /log                            the bot's last 1000 REST calls: {at, method, path, status, ms}
    POST /faults                         see `faults.py`;  DELETE /faults forgets them
    POST /gateway                        {"do": "drop" | "reconnect" | "invalidate"}
    POST /channels/{id}/permissions      {"deny": ["send_messages", …]} for the bot, [] allows all again
    DELETE /channels/{id}
"""

import asyncio
from typing import Any

import discord
import msgspec
from aiohttp import web
from simcord.backend import serializers
from simcord.backend.errors import BackendError
from simcord.backend.models import Overwrite
from simcord.enums import AppCommandType, OverwriteType

from bot.playground.events import Hub
from bot.playground.faults import Fault
from bot.playground.gateway import Gateway
from bot.playground.interactions import ANSWER_SECONDS, Delivery, Interactions
from bot.playground.options import Refused
from bot.playground.rest import Rest
from bot.playground.uploads import MEMBER_FILE_BYTES, MEMBER_REQUEST_BYTES, Body, Upload, read_body
from bot.playground.world import World

LONGEST_MESSAGE = 2000


class PageApi:
    """The handlers. `routes` says which is where."""

    def __init__(self, world: World, rest: Rest, gateway: Gateway, hub: Hub, interactions: Interactions) -> None:
        self._world = world
        self._rest = rest
        self._gateway = gateway
        self._hub = hub
        self._interactions = interactions

    def routes(self) -> list[web.RouteDef]:
        base = "/playground/api"
        return [
            web.get(f"{base}/state", self.state),
            web.get(f"{base}/events", self.events),
            web.get(base + r"/channels/{channel:\d+}/messages", self.messages),
            web.post(base + r"/channels/{channel:\d+}/messages", self.send),
            web.delete(base + r"/channels/{channel:\d+}/messages/{message:\d+}", self.delete_message),
            web.post(base + r"/channels/{channel:\d+}/permissions", self.permissions),
            web.delete(base + r"/channels/{channel:\d+}", self.delete_channel),
            web.post(f"{base}/interactions", self.interact),
            web.get(base + r"/interactions/{interaction:\d+}", self.interaction),
            web.post(base + r"/interactions/{interaction:\d+}/redeliver", self.redeliver),
            web.get(f"{base}/log", self.log),
            web.post(f"{base}/faults", self.add_fault),
            web.delete(f"{base}/faults", self.clear_faults),
            web.post(f"{base}/gateway", self.disturb),
        ]

    # --------------------------------------------------------------- reading

    async def state(self, _request: web.Request) -> web.Response:
        world = self._world
        scopes = (world.guild.id, None)
        commands = [command for scope in scopes for command in world.commands.get(scope, {}).values()]
        members = [serializers.user_payload(world.users[user_id]) for user_id in world.people]
        return web.json_response(
            {
                "server": {"id": str(world.guild.id), "name": world.guild.name},
                "members": members,
                "channels": [world.channel(channel_id) for channel_id in world.guild.channel_ids],
                "commands": [c for c in commands if c["type"] == AppCommandType.CHAT_INPUT],
                "message_commands": [c for c in commands if c["type"] == AppCommandType.MESSAGE],
                "bot": serializers.user_payload(world.bot_user),
                "bot_connected": self._gateway.connected,
                "limits": {"file_bytes": MEMBER_FILE_BYTES, "message_length": LONGEST_MESSAGE},
            }
        )

    async def messages(self, request: web.Request) -> web.Response:
        channel_id, user_id = int(request.match_info["channel"]), self._user(request.query.get("user"))
        before = int(request.query.get("before") or 1 << 63)
        limit = min(100, int(request.query.get("limit") or 50))
        self._world.get_channel(channel_id)
        stored = self._world.messages[channel_id].values()
        visible = [m for m in stored if m.id < before and m.visible_to(user_id)]
        return web.json_response([self._world.message(m) for m in visible[-limit:]])

    async def events(self, request: web.Request) -> web.StreamResponse:
        return await self._hub.stream(request, self._user(request.query.get("user")))

    async def interaction(self, request: web.Request) -> web.Response:
        delivery = self._interactions.get(int(request.match_info["interaction"]))
        return web.json_response(delivery.describe())

    # --------------------------------------------------------------- talking

    async def send(self, request: web.Request) -> web.Response:
        channel_id = int(request.match_info["channel"])
        body = await self._body(request)
        sent: dict[str, Any] = body.json or {}
        user_id, content = self._user(sent.get("user")), str(sent.get("content") or "")
        if len(content) > LONGEST_MESSAGE:
            raise Refused(f"A message has at most {LONGEST_MESSAGE} characters; this one has {len(content)}.")
        if not content.strip() and not body.files:
            raise Refused("There is nothing to send.")
        self._world.require_permissions(self._world.guild.id, user_id, channel_id, "send_messages")
        reference = None
        if sent.get("reply_to"):
            reference = {"channel_id": str(channel_id), "message_id": str(sent["reply_to"])}
        files = [(upload.filename, upload.data) for upload in body.files.values()]
        message = self._world.create_message(
            channel_id,
            user_id,
            content,
            reference=reference,
            attachments=self._world.store_attachments(channel_id, files),
        )
        return web.json_response(self._world.message(message))

    async def delete_message(self, request: web.Request) -> web.Response:
        channel_id, message_id = int(request.match_info["channel"]), int(request.match_info["message"])
        self._world.delete_message(channel_id, message_id)
        return web.json_response({})

    async def interact(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        try:
            delivery = self._start(body.json or {}, body.files)
        except KeyError as error:
            raise Refused(f"The field {error} is missing.") from error
        if request.query.get("wait") != "0":
            async with asyncio.timeout(ANSWER_SECONDS + 1):
                await delivery.over.wait()
        return web.json_response(delivery.describe())

    def _start(self, sent: dict[str, Any], files: dict[str, Upload]) -> Delivery:
        act, user_id, kind = self._interactions, self._user(sent.get("user")), sent["type"]
        if kind == "modal":
            by_field: dict[str, list[Upload]] = {}
            for name, upload in files.items():  # several files of one field: custom_id, custom_id[1], …
                by_field.setdefault(name.split("[")[0], []).append(upload)
            return act.modal(user_id, int(sent["interaction"]), sent.get("values") or {}, by_field)
        channel_id, options = int(sent["channel"]), sent.get("options") or {}
        if kind == "command":
            return act.command(user_id, channel_id, sent["name"], options, files)
        if kind == "autocomplete":
            focused, value = sent["focused"], sent.get("value", "")
            return act.autocomplete(user_id, channel_id, sent["name"], options, focused=focused, value=value)
        if kind == "component":
            message_id, values = int(sent["message"]), sent.get("values")
            return act.component(user_id, channel_id, message_id, sent["custom_id"], values)
        if kind == "context":
            return act.context_menu(user_id, channel_id, sent["name"], int(sent["message"]))
        raise Refused(f"There is no interaction of type {kind!r}.")

    async def redeliver(self, request: web.Request) -> web.Response:
        delivery = self._interactions.redeliver(int(request.match_info["interaction"]))
        return web.json_response(delivery.describe())

    # ------------------------------------------------------- what can go wrong

    async def log(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self._rest.log))

    async def add_fault(self, request: web.Request) -> web.Response:
        try:
            self._rest.faults.add(msgspec.json.decode(await request.read(), type=Fault))
        except msgspec.DecodeError as error:
            raise Refused(f"That is not a fault: {error}.") from error
        return web.json_response({})

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._rest.faults.clear()
        return web.json_response({})

    async def disturb(self, request: web.Request) -> web.Response:
        await self._gateway.disturb((await request.json())["do"])
        return web.json_response({})

    async def permissions(self, request: web.Request) -> web.Response:
        channel = self._world.get_channel(int(request.match_info["channel"]))
        names: list[str] = (await request.json())["deny"]
        denied = discord.Permissions(**dict.fromkeys(names, True)).value
        channel.overwrites = [Overwrite(self._world.bot_user.id, OverwriteType.MEMBER, deny=denied)]
        self._world.announce_channel_update(channel.id)
        return web.json_response({})

    async def delete_channel(self, request: web.Request) -> web.Response:
        self._world.delete_channel(int(request.match_info["channel"]))
        return web.json_response({})

    # ------------------------------------------------------------------ parts

    def _user(self, value: object) -> int:
        if value in (None, ""):
            return self._world.guild.owner_id
        if not str(value).isdecimal() or int(str(value)) not in self._world.people:
            raise Refused(f"There is no member {value!r}.")
        return int(str(value))

    async def _body(self, request: web.Request) -> Body:
        return await read_body(request, file_bytes=MEMBER_FILE_BYTES, request_bytes=MEMBER_REQUEST_BYTES)


@web.middleware
async def tell_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """The page's errors as one sentence."""
    try:
        return await handler(request)
    except Refused as error:
        return web.json_response({"error": str(error), "option": error.option}, status=400)
    except BackendError as error:
        sentence = "The file is too large." if error.code == 40005 else f"{error.message}."
        return web.json_response({"error": sentence, "option": None}, status=error.status)
