"""What members do: run a command, type in an option, press a button, send a form.

Each becomes one INTERACTION_CREATE for the bot. The bot has 3 seconds to answer; after that the member
reads "The application did not respond", as on Discord. simcord refuses the late answer (10062) and, after
15 minutes, the token.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simcord import interactions as simulated
from simcord.backend.errors import BackendError, SetupError, missing_access
from simcord.backend.models import Interaction
from simcord.components import walk_components
from simcord.enums import AppCommandType, InteractionType

from bot.playground.access import app_permissions, context_of, integration_owners, refusal, visible
from bot.playground.menus import chosen, count_problem
from bot.playground.modals import SELECTS, Answers, submitted_components
from bot.playground.options import OptionBuilder, Refused
from bot.playground.uploads import BOT_FILE_BYTES, Upload
from bot.playground.world import World

ANSWER_SECONDS = 3.0
KEPT = 300


@dataclass
class Delivery:
    """One interaction on its way: what was sent, and whether it was answered."""

    record: Interaction
    payload: dict[str, Any]
    sent_at: float
    label: str
    answered_ms: float | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self) -> dict[str, Any]:
        record = self.record
        state = "answered" if record.responded else "failed" if self.over.is_set() else "waiting"
        return {
            "id": str(record.id),
            "type": record.type,
            "label": self.label,
            "user": str(record.user_id),
            "channel": str(record.channel_id),
            "state": state,
            "answer": record.response_kind.value if record.response_kind else None,
            "answered_ms": self.answered_ms,
            "message": str(record.message_id) if record.message_id else None,
            "ephemeral": record.ephemeral,
            "modal": record.modal,
            "choices": record.autocomplete_choices,
        }


class Interactions:
    """Builds interactions, sends them and watches the clock. `on_change` hears of every state change."""

    def __init__(self, world: World, on_change: Callable[[Delivery], None]) -> None:
        self._world = world
        self._on_change = on_change
        self._deliveries: OrderedDict[int, Delivery] = OrderedDict()
        self._dropped: deque[Delivery] = deque()  # oldest first; their tokens may still be valid

    def get(self, interaction_id: int) -> Delivery:
        """Raises: Refused, nobody remembers that interaction."""
        try:
            return self._deliveries[interaction_id]
        except KeyError:
            raise Refused(f"There is no interaction {interaction_id}.") from None

    def redeliver(self, interaction_id: int) -> Delivery:
        """Send the very same event again, as Discord does after some reconnections."""
        delivery = self.get(interaction_id)
        self._world.emit("INTERACTION_CREATE", delivery.payload)
        return delivery

    def answered(self, interaction_id: int) -> None:
        """The bot's callback was accepted."""
        delivery = self._deliveries.get(interaction_id)
        if delivery is not None and delivery.answered_ms is None:
            delivery.answered_ms = round((time.monotonic() - delivery.sent_at) * 1000, 1)
            delivery.over.set()
            self._on_change(delivery)

    # --------------------------------------------------------------- actions

    def command(
        self, user_id: int, channel_id: int, name: str, options: dict[str, Any], files: dict[str, Upload]
    ) -> Delivery:
        """Run a slash command. `name` has spaces for subcommands; files fill the attachment options."""
        root, leaf, nesting = self._find(user_id, channel_id, name)
        builder = OptionBuilder(self._world, channel_id, user_id)
        built = builder.build(name, leaf, options, files)
        data = _command_data(root, simulated.nest_options(root, nesting, built), builder.resolved)
        return self._send(InteractionType.APPLICATION_COMMAND, user_id, channel_id, data, label=f"/{name}")

    def autocomplete(
        self, user_id: int, channel_id: int, name: str, options: dict[str, Any], *, focused: str, value: Any
    ) -> Delivery:
        """Ask what fits into an option while it is being typed. Half-filled other options go along."""
        root, leaf, nesting = self._find(user_id, channel_id, name)
        kinds: dict[str, int] = {option["name"]: option["type"] for option in leaf.get("options") or []}
        asked = next((o for o in leaf.get("options") or [] if o["name"] == focused), dict[str, Any]())
        if not asked.get("autocomplete"):
            raise Refused(f"Option {focused} of /{name} has no suggestions.", focused)
        others = {key: filled for key, filled in options.items() if key in kinds and key != focused}
        built = [{"name": key, "type": kinds[key], "value": filled} for key, filled in others.items()]
        built.append({"name": focused, "type": asked["type"], "value": value, "focused": True})
        data = _command_data(root, simulated.nest_options(root, nesting, built), {})
        kind = InteractionType.APPLICATION_COMMAND_AUTOCOMPLETE
        return self._send(kind, user_id, channel_id, data, label=f"/{name}")

    def context_menu(self, user_id: int, channel_id: int, name: str, message_id: int) -> Delivery:
        """Run a message command (Apps → name) on a message."""
        world = self._world
        root = world.find_command(name, world.get_channel(channel_id).guild_id, type=AppCommandType.MESSAGE)
        if root is None:
            raise Refused(f"There is no message command {name!r}.")
        self._may_use(root, user_id, channel_id)
        message = self._visible(channel_id, message_id, user_id)
        data = _command_data(root, None, {"messages": {str(message.id): world.message(message)}})
        data["target_id"] = str(message.id)
        return self._send(InteractionType.APPLICATION_COMMAND, user_id, channel_id, data, label=name)

    def component(
        self, user_id: int, channel_id: int, message_id: int, custom_id: str, values: list[str] | None
    ) -> Delivery:
        """Press a button, or choose in a menu (`values`)."""
        message = self._visible(channel_id, message_id, user_id)
        part = next(
            (part for part in walk_components(message.components) if part.get("custom_id") == custom_id), None
        )
        if part is None or part.get("disabled"):
            raise Refused("That button is not there any more.")
        data: dict[str, Any] = {"custom_id": custom_id, "component_type": part["type"], "id": part.get("id")}
        if part["type"] in SELECTS:
            name = str(part.get("placeholder") or "The menu")
            problem = count_problem(part, name, len(values or []), "choice")
            if problem is not None:
                raise Refused(problem, custom_id)
            builder = OptionBuilder(self._world, channel_id, user_id)
            data["values"] = chosen(part, name, values or [], builder)
            if builder.resolved:
                data["resolved"] = builder.resolved
        more = {"message": self._world.message(message)}
        kind = InteractionType.MESSAGE_COMPONENT
        label = str(part.get("label") or "")
        return self._send(kind, user_id, channel_id, data, label=label, more=more, source=message.id)

    def modal(self, user_id: int, shown_id: int, values: dict[str, Any], files: dict[str, list[Upload]]) -> Delivery:
        """Send the form that the bot showed in answer to interaction `shown_id`."""
        shown = self.get(shown_id).record
        if shown.modal is None or shown.modal_consumed or shown.user_id != user_id:
            raise Refused("That form is not open any more.")
        builder = OptionBuilder(self._world, shown.channel_id, user_id)
        components = submitted_components(shown.modal["components"], Answers(values, files, builder))
        data: dict[str, Any] = {"custom_id": shown.modal["custom_id"], "components": components}
        if builder.resolved:
            data["resolved"] = builder.resolved
        shown.modal_consumed = True
        source, more = shown.source_message_id, dict[str, Any]()
        under = self._world.messages.get(shown.channel_id, {}).get(source or 0)
        if under is not None:  # it may have been deleted while the form was open
            more["message"] = self._world.message(under)
        kind, label = InteractionType.MODAL_SUBMIT, str(shown.modal.get("title", ""))
        return self._send(kind, user_id, shown.channel_id, data, label=label, more=more, source=source)

    # ----------------------------------------------------------------- parts

    def _find(self, user_id: int, channel_id: int, name: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        head, *rest = name.split()
        root = self._world.find_command(head, self._world.get_channel(channel_id).guild_id)
        if root is None:
            raise Refused(f"There is no command /{head}.")
        self._may_use(root, user_id, channel_id)
        try:
            leaf, nesting = simulated.walk_to_subcommand(root, rest)
        except SetupError as error:
            raise Refused(f"There is no command /{name}.") from error
        return root, leaf, nesting

    def _may_use(self, command: dict[str, Any], user_id: int, channel_id: int) -> None:
        reason = refusal(self._world, command, user_id=user_id, channel_id=channel_id)
        if reason is not None:
            slash = "/" if command["type"] == AppCommandType.CHAT_INPUT else ""
            raise Refused(f"{slash}{command['name']} {reason}.")

    def _visible(self, channel_id: int, message_id: int, user_id: int) -> Any:
        if not visible(self._world, channel_id, user_id):
            raise missing_access()
        message = self._world.get_message(channel_id, message_id)
        if not message.visible_to(user_id):
            raise BackendError(404, 10008, "Unknown Message")
        return message

    def _send(
        self,
        kind: InteractionType,
        user_id: int,
        channel_id: int,
        data: dict[str, Any],
        *,
        label: str,
        more: dict[str, Any] | None = None,
        source: int | None = None,
    ) -> Delivery:
        world = self._world
        if not visible(world, channel_id, user_id):
            raise missing_access()
        guild_id = world.get_channel(channel_id).guild_id
        record, payload = simulated.base_payload(
            world, type=int(kind), channel_id=channel_id, guild_id=guild_id, user_id=user_id, data=data
        )
        record.source_message_id = source
        allowed = {"permissions": str(world.permissions_in(user_id, channel_id))} if guild_id else {}
        payload |= {
            "channel": world.channel(channel_id) | allowed,
            "context": context_of(world, channel_id),
            "authorizing_integration_owners": integration_owners(world, channel_id, user_id),
            "app_permissions": str(app_permissions(world, channel_id)),
            "attachment_size_limit": BOT_FILE_BYTES,
        } | (more or {})
        if guild_id is not None:
            payload["guild"] = {"id": str(guild_id), "locale": "en-US", "features": []}
        delivery = Delivery(record, payload, time.monotonic(), label)
        self._deliveries[record.id] = delivery
        while len(self._deliveries) > KEPT:
            self._dropped.append(self._deliveries.popitem(last=False)[1])
        self._forget_expired()
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._give_up, delivery)
        self._world.emit("INTERACTION_CREATE", payload)
        return delivery

    def _give_up(self, delivery: Delivery) -> None:
        if not delivery.over.is_set():
            delivery.over.set()
            self._on_change(delivery)

    def _forget_expired(self) -> None:
        """The bot may use a token, and load what came with it, for 15 minutes, however many came since."""
        now = self._world.now_iso()
        while self._dropped and (self._dropped[0].record.expires_at or "") <= now:
            delivery = self._dropped.popleft()
            self._world.interactions.pop(delivery.record.id, None)
            self._world.interaction_tokens.pop(delivery.record.token, None)
            uploads: dict[str, Any] = delivery.payload["data"].get("resolved", {}).get("attachments", {})
            self._world.attachments.release(upload["url"] for upload in uploads.values())


def _command_data(
    root: dict[str, Any], options: list[dict[str, Any]] | None, resolved: dict[str, Any]
) -> dict[str, Any]:
    data: dict[str, Any] = {"id": root["id"], "name": root["name"], "type": int(root["type"])}
    if options is not None:
        data["options"] = options
    if resolved:
        data["resolved"] = resolved
    if root.get("guild_id"):
        data["guild_id"] = root["guild_id"]
    return data
