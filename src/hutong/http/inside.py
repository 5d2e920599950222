"""The listener that is not for people: figures for Prometheus, and whether the node is well."""

from collections.abc import Awaitable, Callable

from hutong import config
from hutong.http import health, metrics
from hutong.http.app import build_app
from hutong.http.request import Caller
from hutong.http.server import HttpServer


async def listen(
    settings: config.Metrics,
    figures: metrics.Metrics,
    problems: Callable[[], Awaitable[list[str]]],
    authenticate: Callable[[str], Awaitable[Caller]],
) -> HttpServer | None:
    """A server that has started; None when the settings name no port for it. Raises: OSError."""
    if settings.port is None:
        return None
    app = build_app([*metrics.routes(figures), *health.routes(problems)], authenticate)
    server = HttpServer(app, [(settings.host, settings.port, None)], headers=())
    await server.start()
    return server
