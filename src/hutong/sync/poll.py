"""One request to `/sync`, from the first look at what is new to its answer. While it waits it is this record."""

import asyncio
from typing import TYPE_CHECKING, Final

from hutong.cells.tokens import SyncToken
from hutong.http.call import Outcome, Wait, Waker
from hutong.sync.look import Stuck
from hutong.sync.model import Ask
from hutong.sync.session import Session

if TYPE_CHECKING:
    from hutong.sync.service import Sync

RETRY_S: Final = 0.5
"""How long a stuck sync waits before it tries again."""
SLOW_WAIT_S: Final = 10.0
"""How long a first sync waits for a region that is slow."""


class Poll(Wait):
    """Waits in the session, which the tail tells of news, and in the wheel, for the end of its time."""

    __slots__ = ("_ask", "_began", "_deaf", "_open", "_session", "_slot", "_sync", "_token", "_wake_at", "_waker")

    def __init__(self, sync: "Sync", session: Session, ask: Ask, token: SyncToken | None, now: float) -> None:
        """`session` has been opened for it."""
        self._sync = sync
        self._session = session
        self._ask = ask
        self._token = token
        self._began = now
        self._wake_at = self._until
        self._deaf = False
        """Waiting for time to pass, whatever the tail has."""
        self._slot = 0
        self._waker: Waker | None = None
        self._open = True

    @property
    def _until(self) -> float:
        return self._began + self._ask.timeout_ms / 1_000

    # Of a wait

    def park(self, waker: Waker) -> None:
        self._waker = waker
        self._slot = self._sync.wheel.add(self, self._wake_at)
        if not self._deaf:
            self._session.wait(self)

    def resume(self) -> Outcome:
        """By the specification's leave, an answer may come before its time without any news."""
        sync, session, token = self._sync, self._session, self._token
        if token is None or self._ask.full_state or not sync.quiet(session, token):
            return self._look()
        if session.ended:  # nobody tells it any more what comes: the client stays where it is
            return self._empty(sync.tokens.sync(token.pos, token.eph))
        if asyncio.get_running_loop().time() >= self._until:
            # Up to here it is quiet; what comes while the keys are read is not.
            return self._empty(sync.tokens.sync(sync.tail.head, sync.typing.eph))
        self._wake_at = self._until
        return self

    def cancel(self) -> None:
        self._leave()
        self._close()

    # From the session and the wheel

    def has_news(self) -> None:
        self._over()

    def time_is_up(self) -> None:
        self._over()

    def _over(self) -> None:
        waker = self._waker
        self._leave()
        if waker is not None:
            waker.woken()

    def _leave(self) -> None:
        if self._waker is not None:
            self._waker = None
            self._session.wait_no_more(self)
            self._sync.wheel.discard(self, self._slot)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._sync.sessions.close(self._session)

    # What it finds

    async def _empty(self, next_batch: str) -> bytes:
        try:
            keys = await self._sync.keys(self._session.account, self._session.device)
            return b'{"next_batch":"%b",%b}' % (next_batch.encode(), keys)
        finally:
            self._close()

    async def _look(self) -> Outcome:
        """Raises: RegionAway."""
        try:
            answer = await self._answer()
        except BaseException:
            self._close()
            raise
        if answer is not None:
            self._close()
        return self if answer is None else answer

    async def _answer(self) -> bytes | None:
        """What there is to tell, or None when there is nothing yet; then it waits until `_wake_at`, or for news."""
        sync, session, ask, token = self._sync, self._session, self._ask, self._token
        loop = asyncio.get_running_loop()
        while True:
            self._deaf = False
            try:
                found = await sync.look(session, ask, token)
            except Stuck as slow:  # there is nothing that could be told before it
                if loop.time() >= max(self._until, self._began + SLOW_WAIT_S):
                    raise sync.away(slow.cell) from None
                self._deaf, self._wake_at = True, loop.time() + RETRY_S
                return None
            if found.telling or token is None or ask.full_state or session.ended or loop.time() >= self._until:
                return found.body
            # Between the look at head and counter in `look` and here, something may have come.
            if session.last_pos <= found.upto and sync.typing.eph == found.eph and not found.stuck:
                self._wake_at = self._until
                return None
            if found.stuck:
                self._wake_at = min(self._until, loop.time() + RETRY_S)
                return None
