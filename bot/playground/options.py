"""What a member filled in for a command, as Discord's client checks it and sends it to the bot."""

from typing import Any

from simcord import interactions as simulated
from simcord.backend import serializers
from simcord.backend.errors import OptionError
from simcord.enums import OptionType

from bot.playground.uploads import Upload
from bot.playground.world import World

_KINDS: dict[int, tuple[str, ...]] = {
    OptionType.USER: ("users",),
    OptionType.CHANNEL: ("channels",),
    OptionType.ROLE: ("roles",),
    OptionType.MENTIONABLE: ("users", "roles"),
}


class Refused(Exception):
    """What the member did can't be done: one sentence for them, and the option it is about, if any."""

    def __init__(self, text: str, option: str | None = None) -> None:
        super().__init__(text)
        self.option = option


class OptionBuilder:
    """Builds `options` and `resolved` of what one member does in one channel."""

    def __init__(self, world: World, channel_id: int, user_id: int) -> None:
        self._world = world
        self._channel_id = channel_id
        self._user_id = user_id
        self.resolved: dict[str, Any] = {}

    def build(
        self, name: str, leaf: dict[str, Any], options: dict[str, Any], files: dict[str, Upload]
    ) -> list[dict[str, Any]]:
        """The typed options in the order the command declares them.

        Raises:
            Refused: An option is unknown, missing, of the wrong type or out of range.
        """
        declared = {option["name"]: option for option in leaf.get("options") or []}
        entities = {key: v for key, v in options.items() if _type(declared.get(key)) in _KINDS}
        plain = {key: v for key, v in options.items() if key not in entities and key not in files}
        try:
            provided = {key: typed(name, declared.get(key), value) for key, value in plain.items()}
            provided |= {key: (upload.filename, upload.data) for key, upload in files.items()}
            entity_free = [option for key, option in declared.items() if key not in entities]
            accepted = simulated.check_options(name, {**leaf, "options": entity_free}, provided)
        except OptionError as error:
            text = str(error)
            raise Refused(text if text.endswith(".") else f"{text}.", error.option) from error
        built: list[dict[str, Any]] = []
        for key in [key for key in declared if key in accepted or key in entities]:
            if key in entities:
                value: Any = str(entities[key])
                if self.resolve(value) not in _KINDS[declared[key]["type"]]:
                    raise Refused(f"{key} takes something else.", key)
            elif key in files:
                value = self.store(files[key])
            else:
                value = accepted[key]
            built.append({"name": key, "type": declared[key]["type"], "value": value})
        return built

    def store(self, upload: Upload) -> str:
        """Keep an upload; returns its attachment id."""
        attachment_id = simulated.store_interaction_attachment(
            self._world, self._channel_id, upload.filename, upload.data, self.resolved
        )
        self.resolved["attachments"][attachment_id]["ephemeral"] = True  # it belongs to no message
        return attachment_id

    def resolve(self, value: str) -> str:
        """Fill `resolved` for the id of a member, channel or role; returns which of them it is.

        Raises:
            Refused: Nothing has this id.
        """
        world, number = self._world, int(value) if value.isdecimal() else 0
        if number in world.users:
            user = serializers.user_payload(world.users[number])
            self.resolved.setdefault("users", {})[value] = user
            member = world.guild.members.get(number)
            if member is not None:
                payload = serializers.member_payload(world, world.guild, member, with_user=False)
                permissions = str(world.permissions_in(number, self._channel_id))
                self.resolved.setdefault("members", {})[value] = {**payload, "permissions": permissions}
            return "users"
        if number in world.channels:
            allowed = str(world.permissions_in(self._user_id, number))
            self.resolved.setdefault("channels", {})[value] = world.channel(number) | {"permissions": allowed}
            return "channels"
        if number in world.guild.roles:
            self.resolved.setdefault("roles", {})[value] = serializers.role_payload(world.guild.roles[number])
            return "roles"
        raise Refused(f"There is nobody and nothing with the id {value}.")


def typed(command: str, option: dict[str, Any] | None, value: Any) -> Any:
    """Text as it was typed becomes what the option holds; JSON values stay."""
    if option is None or not isinstance(value, str):
        return value
    if option["type"] in (OptionType.INTEGER, OptionType.NUMBER):
        return simulated.parse_option_input(command, option, value.strip())
    if option["type"] == OptionType.BOOLEAN:
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    return value


def _type(option: dict[str, Any] | None) -> int | None:
    return option["type"] if option else None
