"""User-Interactive Authentication: proving once more who you are before something that cannot be undone.

Client-Server API v1.19, "User-Interactive Authentication API". Every flow here has one stage, so a session ends with
the request that completes it; a repeat of that request gets the same answer.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from msgspec import Struct

from hutong.errors import Forbidden, MatrixError

SESSIONS_MAX = 20_000
SESSION_SECONDS = 900
_ID_BYTES = 18


class Stage(StrEnum):
    DUMMY = "m.login.dummy"
    PASSWORD = "m.login.password"  # noqa: S105 - the name of a stage


class Identifier(Struct, frozen=True):
    """Whom a password is for."""

    type: str
    user: str | None = None


class Auth(Struct, frozen=True):
    """The `auth` of a request. `user` is the older way to say who."""

    type: str | None = None
    session: str | None = None
    identifier: Identifier | None = None
    user: str | None = None
    password: str | None = None


class AuthenticationRequired(MatrixError):
    """401 with the flows; `errcode` and `error` only when an attempt failed."""

    status = 401

    def __init__(self, stage: Stage, session: str, failed: MatrixError | None) -> None:
        super().__init__(failed.message if failed else "authentication is required")
        self._flows = {"flows": [{"stages": [stage]}], "params": {}, "session": session}
        self._failed = failed

    def body(self) -> dict[str, Any]:
        return {**(self._failed.body() if self._failed else {}), **self._flows}


class AttemptFailed(MatrixError):
    """This attempt was wrong; the client may make another."""

    errcode = "M_FORBIDDEN"


@dataclass
class _Session:
    id: str
    operation: str
    parameters: bytes | None
    """SHA-256 of what the operation was asked to do, once known."""
    begun: float
    answer: bytes | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Interactive:
    """The sessions under way, in memory: bounded, and forgotten after a while or with the process."""

    def __init__(self, now: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self._now = now
        self._random = random
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def answered(self, operation: str, parameters: bytes, auth: Auth | None) -> bytes | None:
        """The answer that this very request got before, if it did; so that a lost answer can be asked for again."""
        session = self._known(auth.session) if auth is not None else None
        if session is None or session.operation != operation or session.parameters != _digest(parameters):
            return None
        return session.answer

    async def run(
        self, operation: str, parameters: bytes, stage: Stage, auth: Auth | None,
        check: Callable[[Auth], Awaitable[None]], work: Callable[[], Awaitable[bytes]], *, bind: bool = True,
    ) -> bytes:  # fmt: skip
        """The answer of `work`, done once `check` lets `auth` pass.

        `operation` names the endpoint and whose it is, `parameters` what it is asked to do. A session is good for one
        operation, and with `bind` for the parameters that it was begun with. `check` raises what is wrong:
        AttemptFailed lets the client try again, anything else ends the request. When `work` raises, the stage must be
        done again.

        Raises: AuthenticationRequired, Forbidden.
        """
        digest = _digest(parameters)
        bound = digest if bind else None
        if auth is None:
            raise AuthenticationRequired(stage, self._begin(operation, bound).id, None)
        session = self._known(auth.session)
        if session is None and auth.session is not None:
            unknown = MatrixError("auth.session: is not known any more; begin again")
            raise AuthenticationRequired(stage, self._begin(operation, bound).id, unknown)
        if session is None:
            # Some clients know the only stage by heart, and send it at once.
            session = self._begin(operation, bound)
        async with session.lock:
            if session.operation != operation or (session.parameters is not None and session.parameters != digest):
                raise Forbidden("auth.session: was begun for something else; begin again without `auth`")
            if session.answer is None:
                await self._attempt(session, stage, auth, check)
                answer = await work()
                session.answer, session.parameters = answer, digest
            return session.answer

    async def _attempt(
        self, session: _Session, stage: Stage, auth: Auth, check: Callable[[Auth], Awaitable[None]]
    ) -> None:
        if auth.type is None:
            raise AuthenticationRequired(stage, session.id, None)
        if auth.type != stage:
            wrong = MatrixError(f"auth.type: is {auth.type!r}, and {stage} is needed", errcode="M_UNRECOGNIZED")
            raise AuthenticationRequired(stage, session.id, wrong)
        try:
            await check(auth)
        except AttemptFailed as failed:
            raise AuthenticationRequired(stage, session.id, failed) from None

    def _begin(self, operation: str, digest: bytes | None) -> _Session:
        now = self._now()
        while self._sessions and (
            len(self._sessions) >= SESSIONS_MAX or self._over(next(iter(self._sessions.values())), now)
        ):
            self._sessions.popitem(last=False)
        id = urlsafe_b64encode(self._random(_ID_BYTES)).decode()
        session = self._sessions[id] = _Session(id, operation, digest, now)
        return session

    def _known(self, id: str | None) -> _Session | None:
        session = self._sessions.get(id) if id is not None else None
        return None if session is None or self._over(session, self._now()) else session

    @staticmethod
    def _over(session: _Session, now: float) -> bool:
        return now - session.begun > SESSION_SECONDS


def _digest(parameters: bytes) -> bytes:
    return sha256(parameters).digest()
