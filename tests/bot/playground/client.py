"""A small client of the playground's own API: what a member does in the page, from Python.

Used by the tests that drive the bot from outside.
"""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar

import aiohttp

T = TypeVar("T")


class PlaygroundError(Exception):
    """The playground refused; the text is its sentence."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(answer.get("error") if isinstance(answer, dict) else str(answer))
        self.status = status


class PlaygroundClient:
    """One visitor. `user` in the methods is a member's id; none means the owner, "You"."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """One call of `/playground/api`; `options` are aiohttp's.

        Raises:
            PlaygroundError: The answer isn't a success.
        """
        async with self.session.request(method, f"{self.url}/playground/api{path}", **options) as response:
            answer = await response.json()
            if response.status >= 400:
                raise PlaygroundError(response.status, answer)
            return answer

    async def state(self, user: str = "", channel: str = "") -> dict[str, Any]:
        """The server as that member sees it, with the commands that they may use in `channel`."""
        return await self.call("GET", "/state", params={"user": user, "channel": channel})

    async def channel(self, name: str = "studio") -> str:
        """The id of a channel."""
        return next(c["id"] for c in (await self.state())["channels"] if c["name"] == name)

    async def messages(self, channel: str, user: str = "") -> list[dict[str, Any]]:
        """What that member sees in a channel, oldest first."""
        return await self.call("GET", f"/channels/{channel}/messages", params={"user": user, "limit": "100"})

    async def say(
        self, channel: str, content: str, *, files: Mapping[str, bytes] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Post a message; `more` may hold `user`, `reply_to`, `ping` and `attachments` with alt texts."""
        form = _form({"content": content, **more}, files or {})
        return await self.call("POST", f"/channels/{channel}/messages", data=form)

    async def command(
        self, channel: str, name: str, files: Mapping[str, tuple[str, bytes]] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Run a slash command as the owner; `files` maps an attachment option to (file name, content)."""
        sent = {"type": "command", "channel": channel, "name": name, "options": options}
        if not files:
            return await self.act(**sent)
        form = aiohttp.FormData({"payload_json": json.dumps(sent)}, quote_fields=False)
        for option, (filename, data) in files.items():
            form.add_field(option, io.BytesIO(data), filename=filename)
        return await self.call("POST", "/interactions", data=form)

    async def press(self, message: Mapping[str, Any], custom_id: str, user: str = "") -> dict[str, Any]:
        """Press a button under a message."""
        where = {"channel": message["channel_id"], "message": message["id"]}
        return await self.act(type="component", custom_id=custom_id, user=user, **where)

    async def submit(
        self, shown: str, values: Mapping[str, Any], files: Mapping[str, tuple[str, bytes]], user: str = ""
    ) -> dict[str, Any]:
        """Send the form of interaction `shown`; `files` maps custom_id, custom_id[1] … to (file name, content)."""
        sent = {"type": "modal", "user": user, "interaction": shown, "values": values}
        form = aiohttp.FormData({"payload_json": json.dumps(sent)}, quote_fields=False, default_to_multipart=True)
        for field, (filename, data) in files.items():
            form.add_field(field, io.BytesIO(data), filename=filename)
        return await self.call("POST", "/interactions", data=form)

    async def act(self, **interaction: Any) -> dict[str, Any]:
        """Any interaction, see `pageapi.py`. Answers when the bot has, or after three seconds."""
        return await self.call("POST", "/interactions", json=interaction)

    async def fault(
        self, path: str, kind: Literal["status", "reset", "reset_after", "delay"] = "status", **more: Any
    ) -> None:
        """Let the bot's next matching REST call go wrong, see `faults.py`."""
        await self.call("POST", "/faults", json={"path": path, "kind": kind, **more})

    async def member(self, name: str) -> str:
        """The id of a member by their shown name."""
        return next(m["id"] for m in (await self.state())["members"] if m["global_name"] == name)

    async def direct(self, user: str = "") -> str:
        """The id of a member's direct messages with the bot."""
        return (await self.state(user))["dms"][0]["id"]

    async def thread(self, channel: str, name: str, **more: Any) -> str:
        """Start a thread; `more` may hold `user` and `message`. Returns its id."""
        return (await self.call("POST", f"/channels/{channel}/threads", json={"name": name, **more}))["id"]

    async def forward(self, channel: str, message: Mapping[str, Any], user: str = "") -> dict[str, Any]:
        """Forward a message into a channel."""
        source = {"channel": message["channel_id"], "message": message["id"]}
        return await self.call("POST", f"/channels/{channel}/messages", json={"user": user, "forward": source})

    async def advance(self, seconds: float) -> None:
        """Move the server's clock forward; the bot's stays."""
        await self.call("POST", "/clock", json={"advance": seconds})

    async def chaos(self, share: float, **more: Any) -> None:
        """Let a share of the bot's REST calls go wrong until `clear`, see `faults.py`."""
        await self.call("POST", "/faults", json={"chaos": {"share": share, **more}})

    async def clear(self) -> None:
        """No faults and no chaos any more."""
        await self.call("DELETE", "/faults")

    async def until(self, condition: Callable[[], Awaitable[T | None]], within: float = 10.0) -> T:
        """The first result of `condition` that is true.

        Raises:
            TimeoutError: There was none within this many seconds.
        """
        async with asyncio.timeout(within):
            while not (result := await condition()):  # noqa: ASYNC110 - it asks another process
                await asyncio.sleep(0.05)
            return result


def _form(payload: dict[str, Any], files: Mapping[str, bytes]) -> aiohttp.FormData:
    form = aiohttp.FormData({"payload_json": json.dumps(payload)}, quote_fields=False, default_to_multipart=True)
    for number, (filename, data) in enumerate(files.items()):
        form.add_field(f"files[{number}]", io.BytesIO(data), filename=filename)
    return form
