"""What may begin when more is asked of a node than it can do: the rest is refused, cheaply, with `Retry-After`.

Requests are of few kinds, and of each only so many are at work at any time. That number is lowered, step by step, while
answers take too long or the event loop is late, and rises again when they do not: a queue is measured in time. Nobody
who calls, and no home, holds more than a share of what is at work while others want it. A waiting `/sync` is no work.

To refuse costs something too: above a certain number per second, refusals are said a little later, and whoever asks
again on the same connection before has to wait.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from typing import Final

from hutong.config import Limits
from hutong.errors import LimitExceeded, MatrixError, Unavailable

Kind = StrEnum("Kind", "ALWAYS POLL READ WRITE HEAVY PASSWORD")
"""ALWAYS is never refused, nor is POLL: a client that goes on from where it is. HEAVY costs as much as many a READ."""
READS: Final = frozenset({Kind.READ, Kind.HEAVY})
"""Nothing is lost when one of these is broken off."""
Reason = StrEnum("Reason", "FULL SHARE")
NO_WORK: Final = frozenset({Kind.ALWAYS, Kind.POLL})

TICK_S: Final = 0.05
JUDGE_S: Final = 0.25
LAG_S_MAX: Final = 0.1
"""How late the event loop may be all the time; being late now and then is no overload."""
LOWERED, RAISED, SMOOTHED = 0.5, 1.25, 0.5
CALLER_SHARE, HOME_SHARE = 1 / 8, 1 / 2
CALLER_MIN: Final = 32
REFUSALS_PER_TICK: Final = 100
REFUSAL_WAIT_S_MAX: Final = 2.0
RETRY_MS: Final = (1_000, 2_000, 3_000, 4_000, 5_000)
"""In turn, so that those who were refused together do not come back together."""
FLOOR: Final = {Kind.READ: 64, Kind.WRITE: 64, Kind.HEAVY: 16, Kind.PASSWORD: 16}

_HEAVY_READS = frozenset(
    {b"messages", b"members", b"joined_members", b"state", b"hierarchy", b"threads", b"publicRooms"}
)
_HEAVY_ASKS = frozenset({b"search", b"publicRooms", b"query"})
_PASSWORD = frozenset({b"login", b"register", b"password", b"deactivate", b"delete_devices"})
_ALWAYS = frozenset({b"/health/live", b"/health/ready", b"/_matrix/client/versions"})
_BEARER = b"bearer "


def kind_of(method: str, path: bytes, query: bytes) -> Kind:
    """What kind of request this is, by its raw path, without looking anything up. Cost: under 1 µs."""
    before, _, last = path.rpartition(b"/")
    if method in {"GET", "HEAD"}:
        if last == b"sync":
            waits = b"&since=h" in b"&" + query and b"full_state=true" not in query
            return Kind.POLL if waits else Kind.HEAVY
        if path in _ALWAYS:
            return Kind.ALWAYS
        heavy = last in _HEAVY_READS or b"/context/" in path or b"/relations/" in path
        return Kind.HEAVY if heavy else Kind.READ
    if method == "OPTIONS":
        return Kind.ALWAYS
    if method == "POST":
        if last in _PASSWORD:
            return Kind.PASSWORD
        if last in _HEAVY_ASKS:
            return Kind.HEAVY
        if last == b"logout" or before.endswith(b"/logout"):
            return Kind.ALWAYS
    return Kind.WRITE


def token_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The access token in the headers of a request, or nothing. Names are in small letters."""
    for name, value in headers:
        if name == b"authorization":
            return value[len(_BEARER) :] if value[: len(_BEARER)].lower() == _BEARER else b""
    return b""


@dataclass
class _Work:
    """What is at work of one kind, and by whom: by access token and by what stands before its last dot, its home."""

    limit: float
    limit_max: int
    floor: int
    count: int = 0
    holders: dict[bytes, int] = field(default_factory=dict)
    ended: int = 0
    per_second: float = 0.0

    def judge(self, passed_s: float, answer_s_max: float, late: bool) -> None:
        """Lower or raise what may be at work, by what ended since the last time, `passed_s` ago."""
        self.per_second += SMOOTHED * (self.ended / passed_s - self.per_second)
        self.ended = 0
        # Little's law: who begins now is answered after count / per_second.
        behind = self.count > self.limit / 2 and self.count > self.per_second * answer_s_max
        if late or behind:
            self.limit = max(self.floor, self.limit * LOWERED)
        else:
            self.limit = min(self.limit_max, self.limit * RAISED)


class Admission:
    """Asked before each request begins, told when it has ended. It remembers only who is at work now.

    `homes`: how many cells the process serves; with several, none may take all. `clock` is in seconds. Whoever owns
    this calls `tick` every TICK_S.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float], homes: int = 1) -> None:
        self._clock = clock
        self._answer_s_max = limits.answer_seconds_max
        most = {
            Kind.READ: limits.reads_max,
            Kind.WRITE: limits.writes_max,
            Kind.HEAVY: limits.heavy_max,
            Kind.PASSWORD: limits.passwords_max,
        }
        self._work = {kind: _Work(limit, limit, min(limit, FLOOR[kind])) for kind, limit in most.items()}
        self._home_share = HOME_SHARE if homes > 1 else 1.0
        self._retry_ms = cycle(RETRY_MS)
        self._unsaid: deque[Callable[[], None]] = deque()
        self._sayable = REFUSALS_PER_TICK
        self._due = clock() + TICK_S
        self._judged = clock()
        self._lags_s: list[float] = []
        self.lag_s = 0.0
        """The latest that the event loop was, between the last two times that it was looked at."""
        self.refused: Counter[tuple[Kind, Reason]] = Counter()

    def admit(self, kind: Kind, token: bytes) -> MatrixError | None:
        """None: begin, and tell `done` when it has ended. Else what to tell the client. Cost: about 1 µs."""
        work = self._work.get(kind)
        if work is None:
            return None
        if work.count >= work.limit:
            return self._refuse(kind, Reason.FULL)
        if token:
            holders, home = work.holders, token.rpartition(b".")[0]
            mine, ours = holders.get(token, 0), holders.get(home, 0)
            if work.count * 2 >= work.limit and mine >= max(CALLER_MIN, work.limit * CALLER_SHARE):
                return self._refuse(kind, Reason.SHARE)
            if ours >= work.limit * self._home_share:
                return self._refuse(kind, Reason.FULL)
            holders[token], holders[home] = mine + 1, ours + 1
        work.count += 1
        return None

    def done(self, kind: Kind, token: bytes) -> None:
        """What was admitted has ended."""
        work = self._work.get(kind)
        if work is None:
            return
        work.count -= 1
        work.ended += 1
        if token:
            for holder in (token, token.rpartition(b".")[0]):
                work.holders[holder] -= 1
                if not work.holders[holder]:
                    del work.holders[holder]

    def _refuse(self, kind: Kind, reason: Reason) -> MatrixError:
        self.refused[kind, reason] += 1
        retry_after_ms = next(self._retry_ms)
        if reason is Reason.SHARE:
            return LimitExceeded("too many requests of yours are at work; try again", retry_after_ms=retry_after_ms)
        return Unavailable("the server has more to do than it can; try again", retry_after_ms=retry_after_ms)

    def say(self, refuse: Callable[[], None]) -> None:
        """Call `refuse`, which writes a refusal: now, or soon when many are refused."""
        if self._sayable and not self._unsaid:
            self._sayable -= 1
            refuse()
        else:
            self._unsaid.append(refuse)

    def tick(self) -> None:
        """Look at the clock, say what could not be said yet, and judge now and then."""
        now = self._clock()
        self._lags_s.append(max(0.0, now - self._due))
        self._due = now + TICK_S
        self._say_more()
        if now - self._judged >= JUDGE_S:
            passed_s, self._judged = now - self._judged, now
            self.lag_s = max(self._lags_s)
            late = min(self._lags_s) > LAG_S_MAX
            self._lags_s.clear()
            for work in self._work.values():
                work.judge(passed_s, self._answer_s_max, late)

    def _say_more(self) -> None:
        self._sayable = 0
        # Very many are said faster, even if that costs more: nobody is to wait long for a no.
        sayable = max(REFUSALS_PER_TICK, math.ceil(len(self._unsaid) * TICK_S / REFUSAL_WAIT_S_MAX))
        said = min(sayable, len(self._unsaid))
        for _ in range(said):
            self._unsaid.popleft()()
        self._sayable = sayable - said

    def at_work(self) -> dict[Kind, int]:
        """How many of each kind are at work."""
        return {kind: work.count for kind, work in self._work.items()}

    def limit(self, kind: Kind) -> int:
        """How many of a kind may be at work now."""
        return int(self._work[kind].limit)
