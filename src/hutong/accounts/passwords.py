"""Passwords: Argon2id, a few at a time, so that a rush of logins leaves a processor to everybody else."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hutong.config import Passwords as Cost
from hutong.engines.process import processors
from hutong.errors import BadParam, MatrixError, Unavailable

PASSWORD_BYTES_MAX = 1_024
WAITING_MAX = 200
_PARALLELISM = 1

Result = TypeVar("Result")


class Passwords:
    """Hashes and checks passwords with the `cost` of the configuration."""

    def __init__(self, cost: Cost) -> None:
        self._chars_min = cost.chars_min
        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=_PARALLELISM)
        self._threads = ThreadPoolExecutor(cost.at_once or max(1, processors() - 1), thread_name_prefix="passwords")
        self._waiting = 0
        # Somebody who does not exist takes as long as somebody who does.
        self._nobody = self._hasher.hash("nobody's password")

    def check_new(self, password: str, field: str = "password") -> None:
        """Whether `password` may become somebody's. Raises: MatrixError M_WEAK_PASSWORD, BadParam."""
        if len(password) < self._chars_min:
            raise MatrixError(f"{field}: has fewer than {self._chars_min} characters", errcode="M_WEAK_PASSWORD")
        if len(password.encode()) > PASSWORD_BYTES_MAX:
            raise BadParam(field, f"is longer than {PASSWORD_BYTES_MAX} bytes")

    async def hash(self, password: str) -> bytes:
        """What is kept in place of `password`. Cost: what the configuration says, in a thread."""
        return (await self._in_thread(lambda: self._hasher.hash(password))).encode()

    async def verify(self, kept: bytes | None, password: str) -> bool:
        """Whether `password` is the one that `kept` was made from; None takes as long, and is never right."""
        if len(password.encode()) > PASSWORD_BYTES_MAX:
            return False
        return await self._in_thread(lambda: self._verify(kept, password))

    def _verify(self, kept: bytes | None, password: str) -> bool:
        try:
            self._hasher.verify(self._nobody if kept is None else kept.decode(), password)
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("too many people are logging in; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
