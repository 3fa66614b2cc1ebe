"""Loopback only: other sites in the visitor's browser must not reach the playground.

A page elsewhere could resolve its own name to 127.0.0.1 (DNS rebinding) or post a form here. So the Host
header must name this machine, and an Origin header, which browsers send with every cross-site write and
WebSocket, must be ours.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


def guard(port: int) -> Middleware:
    """Middleware that answers 403 to whatever does not come from this machine's own page or bot."""
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
    origins = {f"http://{host}" for host in hosts}

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.headers.get("Host", "") not in hosts:
            raise web.HTTPForbidden(text="The playground answers only to 127.0.0.1 and localhost.\n")
        if request.headers.get("Origin") not in (None, *origins):
            raise web.HTTPForbidden(text="The playground answers only to its own page.\n")
        return await handler(request)

    return check


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Security headers on every answer (an `on_response_prepare` signal)."""
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
