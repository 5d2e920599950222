"""`GET /sync`: decode, call, encode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from hutong.errors import BadParam, NotFound
from hutong.http.call import Call, HotResource, Outcome
from hutong.http.request import Caller, query_choice, query_flag, query_int, query_text
from hutong.ids import AccountNo, CellNo
from hutong.sync.filters import EVERYTHING, FILTER_BYTES_MAX, Filter, FilterCache
from hutong.sync.model import Ask
from hutong.sync.poll import Poll
from hutong.sync.service import Sync

PATH = "/_matrix/client/v3/sync"
TIMEOUT_MS_MAX: Final = 120_000
_PRESENCES: Final = ("online", "offline", "unavailable")


class KeptFilters(Protocol):
    """The filters that an account keeps here, by id."""

    async def get(self, account: AccountNo, filter_id: str) -> bytes:
        """Raises: NotFound."""
        ...

    def cached(self, account: AccountNo, filter_id: str) -> bytes | None:
        """The same, if it is in memory."""
        ...


@dataclass(frozen=True)
class SyncEndpoint(HotResource):
    waits: ClassVar = True
    syncs: Mapping[CellNo, Sync]
    kept: Mapping[CellNo, KeptFilters]
    polled: Callable[[Caller, str], None]
    """Told who polls, and how they want to appear by that."""
    filters: FilterCache = field(default_factory=FilterCache)

    def hot_get(self, call: Call) -> Outcome:
        who = call.caller
        text = query_text(call, "filter", max=FILTER_BYTES_MAX)
        if not text:
            return self._poll(call, EVERYTHING)
        if text.startswith("{"):
            return self._poll(call, self.filters.get(text))
        kept = self.kept[who.cell].cached(who.account, text)
        return self._poll(call, self.filters.get(kept)) if kept is not None else self._poll_with_kept(call, text)

    async def _poll_with_kept(self, call: Call, filter_id: str) -> Outcome:
        try:
            kept = await self.kept[call.caller.cell].get(call.caller.account, filter_id)
        except NotFound:
            raise BadParam("filter", "you have no filter with this id") from None
        return self._poll(call, self.filters.get(kept))

    def _poll(self, call: Call, filter: Filter) -> Poll:
        who = call.caller
        presence = query_choice(call, "set_presence", _PRESENCES, "online")
        ask = Ask(
            since=query_text(call, "since") or None,
            filter=filter,
            timeout_ms=query_int(call, "timeout", 0, 0, TIMEOUT_MS_MAX),
            full_state=query_flag(call, "full_state"),
            state_after=query_flag(call, "use_state_after"),
        )
        poll = self.syncs[who.cell].poll(who.account, who.device, ask)
        self.polled(who, presence)
        return poll


def routes(
    syncs: Mapping[CellNo, Sync], kept: Mapping[CellNo, KeptFilters], polled: Callable[[Caller, str], None]
) -> list[tuple[str, object]]:
    return [(PATH, SyncEndpoint(syncs, kept, polled))]
