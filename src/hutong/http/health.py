"""`/health/live`: the process answers. `/health/ready`: it can also do its work; else it says what is missing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from hutong.errors import Unavailable
from hutong.http.failures import where
from hutong.http.request import Request, Response

log = logging.getLogger("hutong.http")

CHECK_SECONDS_MAX = 2.0

Problems = Callable[[], Awaitable[Sequence[str]]]
"""What keeps the node from its work, in plain words that anybody may read: no addresses, no names of people."""


class LiveEndpoint:
    auth = False
    openapi: ClassVar[dict[str, Any]] = {
        "get": {
            "summary": "Is the process alive?",
            "responses": {"200": {"description": "It answers."}},
        }
    }

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = b'{"status":"live"}'


class ReadyEndpoint:
    auth = False
    openapi: ClassVar[dict[str, Any]] = {
        "get": {
            "summary": "Can the node do its work?",
            "responses": {
                "200": {"description": "It can."},
                "503": {"description": "It cannot; `problems` says why, in one sentence each."},
            },
        }
    }

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    async def on_get(self, req: Request, resp: Response) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                found = list(await self._problems())
        except TimeoutError:
            found = [f"the node's own check did not end within {CHECK_SECONDS_MAX:g} seconds"]
        except Exception as error:  # whatever it is, a load balancer needs an answer
            log.error("the readiness check failed: %s", where(error))
            found = ["the node's own check failed; the log says where"]
        if found:
            problem = Unavailable("not ready: " + "; ".join(found))
            problem.extra["problems"] = found
            raise problem
        resp.data = b'{"status":"ready"}'


def routes(problems: Problems) -> list[tuple[str, object]]:
    return [("/health/live", LiveEndpoint()), ("/health/ready", ReadyEndpoint(problems))]
