"""What one cell knows of the presence of its people. No I/O; the clock is given."""

from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from hutong.ids import AccountNo

PEOPLE_MAX: Final = 200_000
"""So many are remembered; whoever was longest away is forgotten first, and is offline."""
GONE_S: Final = 300.0
"""After so long without a request, somebody is offline, whatever they said last."""
COARSE_MS: Final = 60_000


class State(StrEnum):
    ONLINE = "online"
    UNAVAILABLE = "unavailable"
    OFFLINE = "offline"


class Presence(Struct, frozen=True):
    """How somebody appears. `active_ago_ms`: whole minutes; None: not known."""

    state: State
    status: str | None = None
    active_ago_ms: int | None = None


class _Said(Struct, frozen=True):
    state: State
    status: str | None
    at: float


class PresenceBoard:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._people: OrderedDict[AccountNo, _Said] = OrderedDict()

    def say(self, account: AccountNo, state: State, status: str | None) -> None:
        """`account` says so of themselves."""
        self._people[account] = _Said(state, status, self._now())
        self._people.move_to_end(account)
        if len(self._people) > PEOPLE_MAX:
            self._people.popitem(last=False)

    def polled(self, account: AccountNo, presence: str) -> None:
        """A client of `account` polls, and says how to appear by that; `offline`: not at all."""
        state = State(presence)
        if state is not State.OFFLINE:
            before = self._people.get(account)
            self.say(account, state, before.status if before is not None else None)

    def of(self, account: AccountNo) -> Presence:
        said = self._people.get(account)
        if said is None:
            return Presence(State.OFFLINE)
        ago = self._now() - said.at
        state = said.state if ago < GONE_S else State.OFFLINE
        return Presence(state, said.status, max(0, int(ago * 1_000)) // COARSE_MS * COARSE_MS)

    def forget(self, account: AccountNo) -> None:
        self._people.pop(account, None)
