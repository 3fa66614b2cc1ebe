"""The page's own API under `/playground/api`, also used by tests. Everything is JSON unless said.

`user` is a member's id, default the owner ("You"): every page, and every call, may be another member. Errors are
`{"error": sentence, "option": name or null}` with status 400, 403 or 404. Attachment links in all answers are
signed and expire after a day (see `links.py`): a page that shows old ones fetches the messages again.

    GET  /state                          ?user= &channel=
         {server, me: {id, permissions}, members, channels, threads, dms, commands, message_commands,
          bot, bot_connected, limits}
         members    Discord's users with `roles` (names), `owner` and `permissions` (a bit set as text)
         channels   those `user` may see, with `nsfw` and `permissions` (what `user` may do there)
         threads    the same for threads, archived ones too: `parent_id`, `thread_metadata.archived`/`.locked`
         dms        direct messages of `user`: type 1 with the bot; type 1 with another member (the bot is
                    not in it, its commands are only there where it allows being installed by a user)
         commands, message_commands      with `channel` only those that `user` may use there, else all
    GET  /channels/{id}/messages         ?user= &limit=50 &before=ID   oldest first, as that member sees them, with
                                         `pings`: the ids of whom each notifies
    POST /channels/{id}/messages         {user, content, reply_to, ping: true} or multipart: payload_json +
                                         files[0] …; `attachments: [{id: 0, description}]` gives files alt text, a
                                         name that starts with SPOILER_ hides one; `ping: false` replies silently
         {user, forward: {channel, message}}      forwards a message, alone
    DELETE /channels/{id}/messages/{id}  ?user=   its author, or who may manage messages; an answer that only
                                         `user` can see is dismissed
    POST /channels/{id}/threads          {user, name, message?}   a thread, of a message where one is named
    PATCH /channels/{id}                 {user, archived?, locked?}   of a thread
    POST /interactions                   what a member does; ?wait=0 answers before the bot does
         {type: "command", user, channel, name, options}              attachments: multipart, the form field
                                                                      is called like the option
         {type: "autocomplete", user, channel, name, options, focused, value}
         {type: "component", user, channel, message, custom_id, values?}
         {type: "context", user, channel, name, message}              a message command
         {type: "modal", user, interaction, values}                   files: the field is the custom_id, for
                                                                      more files custom_id[1], custom_id[2] …
         What Discord's client would not send is refused: a command that the member may not use here, values
         outside an option's or a field's limits (`option` is the option, or the field's custom_id).
    GET  /interactions/{id}              {id, state: waiting|answered|failed, answer, answered_ms, message,
                                          ephemeral, modal, choices}
    POST /interactions/{id}/redeliver    the same event once more
    GET  /events                         ?user=   server-sent events, see `events.py`

What only tests need (faults, time, more people) is in `testapi.py`.
"""

import asyncio
from typing import Any

from aiohttp import web
from simcord.backend.errors import BackendError, missing_permissions
from simcord.backend.models import AllowedMentions
from simcord.backend.permissions import flag

from bot.playground.access import visible
from bot.playground.bodies import check_message
from bot.playground.events import Hub
from bot.playground.gateway import Gateway
from bot.playground.interactions import ANSWER_SECONDS, Delivery, Interactions
from bot.playground.options import Refused
from bot.playground.state import describe
from bot.playground.uploads import MEMBER_FILE_BYTES, MEMBER_REQUEST_BYTES, Body, Upload, read_body
from bot.playground.world import World

BASE = "/playground/api"
LONGEST_MESSAGE = 2000


class PageApi:
    """The handlers. `routes` says which is where."""

    def __init__(self, world: World, gateway: Gateway, hub: Hub, interactions: Interactions) -> None:
        self._world = world
        self._gateway = gateway
        self._hub = hub
        self._interactions = interactions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{BASE}/state", self.state),
            web.get(f"{BASE}/events", self.events),
            web.get(BASE + r"/channels/{channel:\d+}/messages", self.messages),
            web.post(BASE + r"/channels/{channel:\d+}/messages", self.send),
            web.delete(BASE + r"/channels/{channel:\d+}/messages/{message:\d+}", self.delete_message),
            web.post(BASE + r"/channels/{channel:\d+}/threads", self.create_thread),
            web.patch(BASE + r"/channels/{channel:\d+}", self.edit_thread),
            web.post(f"{BASE}/interactions", self.interact),
            web.get(BASE + r"/interactions/{interaction:\d+}", self.interaction),
            web.post(BASE + r"/interactions/{interaction:\d+}/redeliver", self.redeliver),
        ]

    # --------------------------------------------------------------- reading

    async def state(self, request: web.Request) -> web.Response:
        world, user_id = self._world, self._user(request.query.get("user"))
        channel_id = int(request.query["channel"]) if request.query.get("channel") else None
        if channel_id is not None:
            self._require_visible(channel_id, user_id)
        limits = {"file_bytes": MEMBER_FILE_BYTES, "message_length": LONGEST_MESSAGE}
        more = {"bot_connected": self._gateway.connected, "limits": limits}
        return self._answer(describe(world, user_id, channel_id) | more)

    async def messages(self, request: web.Request) -> web.Response:
        channel_id, user_id = int(request.match_info["channel"]), self._user(request.query.get("user"))
        before = int(request.query.get("before") or 1 << 63)
        limit = min(100, int(request.query.get("limit") or 50))
        self._require_visible(channel_id, user_id)
        stored = self._world.messages[channel_id].values()
        seen = [m for m in stored if m.id < before and m.visible_to(user_id)]
        return self._answer([self._world.message(m) | {"pings": self._world.pings(m)} for m in seen[-limit:]])

    async def events(self, request: web.Request) -> web.StreamResponse:
        return await self._hub.stream(request, self._user(request.query.get("user")))

    async def interaction(self, request: web.Request) -> web.Response:
        delivery = self._interactions.get(int(request.match_info["interaction"]))
        return self._answer(delivery.describe())

    # --------------------------------------------------------------- talking

    async def send(self, request: web.Request) -> web.Response:
        world, channel_id = self._world, int(request.match_info["channel"])
        body = await self._body(request)
        sent: dict[str, Any] = body.json or {}
        user_id, content = self._user(sent.get("user")), str(sent.get("content") or "")
        if len(content) > LONGEST_MESSAGE:
            raise Refused(f"A message has at most {LONGEST_MESSAGE} characters; this one has {len(content)}.")
        forward = sent.get("forward")
        if not content.strip() and not body.files and not forward:
            raise Refused("There is nothing to send.")
        self._require_may(user_id, channel_id, "send")
        check_message(sent)
        if forward:
            return self._answer(world.message(self._forward(user_id, channel_id, forward)))
        reference = None
        if sent.get("reply_to"):
            world.get_message(channel_id, int(sent["reply_to"]))
            reference = {"channel_id": str(channel_id), "message_id": str(sent["reply_to"])}
        attachments = [
            world.attachments.store_attachment(
                world.snowflake(), channel_id, upload.filename, upload.data, upload.description
            )
            for upload in body.ordered_files()
        ]
        message = world.create_message(
            channel_id,
            user_id,
            content,
            reference=reference,
            attachments=attachments,
            allowed_mentions=AllowedMentions(replied_user=sent.get("ping", True) is not False),
        )
        return self._answer(world.message(message))

    def _forward(self, user_id: int, channel_id: int, source: dict[str, Any]) -> Any:
        source_id, message_id = int(source["channel"]), int(source["message"])
        self._require_visible(source_id, user_id)
        if self._world.get_message(source_id, message_id).snapshots:
            raise Refused("Forward the first message, not one that was forwarded already.")
        reference = {"type": 1, "channel_id": str(source_id), "message_id": str(message_id)}
        return self._world.create_message(channel_id, user_id, "", reference=reference)

    async def delete_message(self, request: web.Request) -> web.Response:
        channel_id, message_id = int(request.match_info["channel"]), int(request.match_info["message"])
        world, user_id = self._world, self._user(request.query.get("user"))
        self._require_visible(channel_id, user_id)
        message = world.get_message(channel_id, message_id)
        if not message.visible_to(user_id):
            raise BackendError(404, 10008, "Unknown Message")
        manages = world.permissions_in(user_id, channel_id) & flag("manage_messages")
        if message.author_id != user_id and not message.is_ephemeral and not manages:
            raise missing_permissions()
        world.delete_message(channel_id, message_id)
        return self._answer({})

    async def create_thread(self, request: web.Request) -> web.Response:
        world, channel_id = self._world, int(request.match_info["channel"])
        sent: dict[str, Any] = (await self._body(request)).json or {}
        user_id = self._user(sent.get("user"))
        self._require_may(user_id, channel_id, "thread")
        message_id = int(sent["message"]) if sent.get("message") else None
        if message_id is not None:
            world.get_message(channel_id, message_id)
        thread = world.create_thread(channel_id, str(sent.get("name") or ""), user_id, message_id=message_id)
        return self._answer(world.channel(thread.id))

    async def edit_thread(self, request: web.Request) -> web.Response:
        world = self._world
        thread = world.get_thread(int(request.match_info["channel"]))
        sent: dict[str, Any] = (await self._body(request)).json or {}
        user_id, locked = self._user(sent.get("user")), sent.get("locked")
        state = thread.thread_metadata
        assert state is not None
        archived = bool(sent.get("archived", state.archived))
        manages = world.permissions_in(user_id, thread.id) & flag("manage_threads")
        # "locked: … only users with MANAGE_THREADS can unarchive it"; its owner may archive it.
        own = locked is None and (thread.owner_id == user_id if archived else not state.locked)
        if not manages and not own:
            raise missing_permissions()
        world.set_archived(thread.id, archived, locked=locked)
        return self._answer(world.channel(thread.id))

    async def interact(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        try:
            delivery = self._start(body.json or {}, body.files)
        except KeyError as error:
            raise Refused(f"The field {error} is missing.") from error
        if request.query.get("wait") != "0":
            async with asyncio.timeout(ANSWER_SECONDS + 1):
                await delivery.over.wait()
        return self._answer(delivery.describe())

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
        return self._answer(delivery.describe())

    # ------------------------------------------------------------------ parts

    def _answer(self, data: Any) -> web.Response:
        return web.json_response(self._world.links.fresh(data))

    def _user(self, value: object) -> int:
        if value in (None, ""):
            return self._world.guild.owner_id
        if str(value).isdecimal():
            number = int(str(value))
            if number in self._world.guild.members and not self._world.users[number].bot:
                return number
        raise Refused(f"There is no member {value!r}.")

    def _require_visible(self, channel_id: int, user_id: int) -> None:
        self._world.get_channel(channel_id)
        if not visible(self._world, channel_id, user_id):
            raise BackendError(403, 50001, "Missing Access")

    def _require_may(self, user_id: int, channel_id: int, what: str) -> None:
        """To `send` a message, or to start a `thread`, in a channel, thread or direct message."""
        channel = self._world.get_channel(channel_id)
        name = "create_public_threads" if what == "thread" else "send_messages"
        if channel.is_thread:
            name = "send_messages_in_threads"
        self._world.require_permissions(channel.guild_id, user_id, channel_id, name)

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
