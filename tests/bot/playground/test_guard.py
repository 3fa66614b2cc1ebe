"""Only this machine's own page and bot may use the server."""

import pytest

from tests.bot.playground.client import PlaygroundClient


@pytest.mark.parametrize("path", ["/", "/playground/api/state", "/api/v10/gateway", "/gateway"])
async def test_foreign_host_is_refused(playground: PlaygroundClient, path: str) -> None:
    headers = {"Host": "evil.example"}
    async with playground.session.get(playground.url + path, headers=headers) as response:
        assert response.status == 403


async def test_foreign_origin_is_refused(playground: PlaygroundClient, studio: str) -> None:
    url = f"{playground.url}/playground/api/channels/{studio}/messages"
    headers = {"Origin": "https://evil.example"}
    async with playground.session.post(url, json={"content": "x"}, headers=headers) as response:
        assert response.status == 403
    headers = {"Origin": playground.url.replace("127.0.0.1", "localhost")}
    async with playground.session.post(url, json={"content": "x"}, headers=headers) as response:
        assert response.status == 200


async def test_page_policy_allows_no_foreign_resources(playground: PlaygroundClient) -> None:
    async with playground.session.get(playground.url + "/") as response:
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["..%2fserver.py", "%2e%2e/server.py", "nothing.js"])
async def test_only_the_pages_files_are_served(playground: PlaygroundClient, name: str) -> None:
    async with playground.session.get(f"{playground.url}/page/{name}") as response:
        assert response.status == 404


async def test_attachments_that_could_run_are_downloads(playground: PlaygroundClient, studio: str) -> None:
    message = await playground.say(studio, "", files={"a.svg": b"<svg onload='alert(1)'/>"})
    async with playground.session.get(message["attachments"][0]["url"]) as response:
        assert response.content_type == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in response.headers["Content-Security-Policy"]
