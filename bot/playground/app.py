"""Puts the playground server together: which part answers which address."""

from pathlib import Path

from aiohttp import web

from bot.playground import cdn
from bot.playground.events import Hub
from bot.playground.gateway import Gateway
from bot.playground.guard import add_headers, guard
from bot.playground.interactions import Delivery, Interactions
from bot.playground.pageapi import PageApi, tell_errors
from bot.playground.rest import Rest
from bot.playground.testapi import TestApi
from bot.playground.world import World

PAGE = Path(__file__).parent / "page"
PAGE_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
"""Said by us: what the system's own table says may be wrong (on Windows a registry entry decides)."""


def build_app(port: int) -> web.Application:
    """The whole server: REST API, gateway, attachments, page and the page's API.

    Args:
        port: The port it will listen on; links and the Host check need it.
    """
    base_url = f"http://127.0.0.1:{port}"
    gateway_url = f"ws://127.0.0.1:{port}/gateway"
    world = World(base_url)
    hub = Hub(world)

    def bot_came_or_went() -> None:
        hub.publish({"type": "bot", "connected": gateway.connected})

    def interaction_changed(delivery: Delivery) -> None:
        told = {"type": "interaction", "interaction": delivery.describe()}
        hub.publish(told, only_for=(delivery.record.user_id,))

    gateway = Gateway(world, gateway_url, bot_came_or_went)
    interactions = Interactions(world, interaction_changed)
    rest = Rest(
        world,
        gateway_url,
        message_content=lambda: gateway.message_content,
        on_callback=interactions.answered,
        on_commands=lambda: hub.publish({"type": "commands"}),
    )
    app = web.Application(middlewares=[guard(port), tell_errors], client_max_size=1 << 20)
    app.on_response_prepare.append(add_headers)

    async def attachment(request: web.Request) -> web.Response:
        return await cdn.serve(request, world.attachments, world.links, base_url)

    async def page(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    async def page_part(request: web.Request) -> web.FileResponse:
        wanted = PAGE / request.match_info["name"]
        if wanted.parent != PAGE or wanted.suffix not in PAGE_TYPES or not wanted.is_file():
            raise web.HTTPNotFound
        kind = PAGE_TYPES[wanted.suffix]
        return web.FileResponse(wanted, headers={"Cache-Control": "no-cache", "Content-Type": kind})

    async def close(_app: web.Application) -> None:
        await hub.close()
        await gateway.close()

    app.on_shutdown.append(close)
    app.add_routes(PageApi(world, gateway, hub, interactions).routes())
    app.add_routes(TestApi(world, rest, gateway).routes())
    app.add_routes(
        [
            web.route("*", "/api/v10/{path:.*}", rest.handle),
            web.get("/gateway", gateway.handle),
            web.get("/gateway/", gateway.handle),
            web.get("/cdn/attachments/{channel}/{attachment}/{name}", attachment),
            web.get("/", page),
            web.get("/page/{name}", page_part),
        ]
    )
    return app
