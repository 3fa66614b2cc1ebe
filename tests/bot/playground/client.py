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

    async def state(self) -> dict[str, Any]:
        return await self.call("GET", "/state")

    async def channel(self, name: str = "studio") -> str:
        """The id of a channel."""
        return next(c["id"] for c in (await self.state())["channels"] if c["name"] == name)

    async def messages(self, channel: str, user: str = "") -> list[dict[str, Any]]:
        """What that member sees in a channel, oldest first."""
        return await self.call("GET", f"/channels/{channel}/messages", params={"user": user, "limit": "100"})

    async def say(
        self, channel: str, content: str, *, files: Mapping[str, bytes] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Post a message; `more` may hold `user` and `reply_to`."""
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

    async def act(self, **interaction: Any) -> dict[str, Any]:
        """Any interaction, see `pageapi.py`. Answers when the bot has, or after three seconds."""
        return await self.call("POST", "/interactions", json=interaction)

    async def fault(
        self, path: str, kind: Literal["status", "reset", "reset_after", "delay"] = "status", **more: Any
    ) -> None:
        """Let the bot's next matching REST call go wrong, see `faults.py`."""
        await self.call("POST", "/faults", json={"path": path, "kind": kind, **more})

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
