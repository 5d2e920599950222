"""`GET /sync`: decode, call, encode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from falcon.asgi import Request, Response

from hutong.errors import BadParam, NotFound
from hutong.http.request import Caller, caller, query_choice, query_flag, query_int, query_text
from hutong.ids import AccountNo, CellNo
from hutong.sync.filters import EVERYTHING, FILTER_BYTES_MAX, Filter, FilterCache
from hutong.sync.model import Ask
from hutong.sync.service import Sync

PATH = "/_matrix/client/v3/sync"
TIMEOUT_MS_MAX: Final = 120_000
_PRESENCES: Final = ("online", "offline", "unavailable")


class KeptFilters(Protocol):
    """The filters that an account keeps here, by id."""

    async def get(self, account: AccountNo, filter_id: str) -> bytes:
        """Raises: NotFound."""
        ...


@dataclass(frozen=True)
class SyncEndpoint:
    waits: ClassVar = True
    syncs: Mapping[CellNo, Sync]
    kept: Mapping[CellNo, KeptFilters]
    polled: Callable[[Caller, str], None]
    """Told who polls, and how they want to appear by that."""
    filters: FilterCache = field(default_factory=FilterCache)

    async def on_get(self, req: Request, resp: Response) -> None:
        who = caller(req)
        presence = query_choice(req, "set_presence", _PRESENCES, "online")
        ask = Ask(
            since=query_text(req, "since") or None,
            filter=await self._filter(who, query_text(req, "filter", max=FILTER_BYTES_MAX)),
            timeout_ms=query_int(req, "timeout", 0, 0, TIMEOUT_MS_MAX),
            full_state=query_flag(req, "full_state"),
            state_after=query_flag(req, "use_state_after"),
        )
        self.polled(who, presence)
        resp.data = await self.syncs[who.cell].answer(who.account, who.device, ask)

    async def _filter(self, who: Caller, text: str | None) -> Filter:
        if not text:
            return EVERYTHING
        if text.startswith("{"):
            return self.filters.get(text)
        try:
            return self.filters.get(await self.kept[who.cell].get(who.account, text))
        except NotFound:
            raise BadParam("filter", "you have no filter with this id") from None


def routes(
    syncs: Mapping[CellNo, Sync], kept: Mapping[CellNo, KeptFilters], polled: Callable[[Caller, str], None]
) -> list[tuple[str, object]]:
    return [(PATH, SyncEndpoint(syncs, kept, polled))]
