"""How one cell asks another: typed requests, at least once, idempotent, with a deadline and a size limit.

Between cells of one process the bytes go from memory to memory; they are encoded all the same, so that what works
here works over a network, and so that a recorder sees exactly what would travel.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from hutong.engines.databases import AWAY, NO_ROOM
from hutong.errors import MatrixError
from hutong.ids import CellNo

log = logging.getLogger(__name__)

R = TypeVar("R")

DEADLINE_S = 5.0
MESSAGE_BYTES_MAX = 32 * 1024 * 1024


class Request(Struct, Generic[R], frozen=True):
    """A question of one cell to another. `flow` is the declared name under which it may cross a border."""

    flow: ClassVar[str]
    reply: ClassVar[Any]


class LinkDown(Exception):
    """No answer came: not in time, or the question or the answer has more than MESSAGE_BYTES_MAX bytes, which the log
    says. What was asked may have happened or not.
    """

    def __init__(self, dest: CellNo) -> None:
        super().__init__(f"cell {dest} cannot be reached")
        self.dest = dest


class _TooLong(Exception):
    """A message has more than MESSAGE_BYTES_MAX bytes."""


class Link(Protocol):
    """One cell's way to the others."""

    async def call(self, dest: CellNo, request: Request[R], deadline_s: float = DEADLINE_S) -> R:
        """Ask `dest`. Raises LinkDown, or the MatrixError that the other side raised."""
        ...

    def send(self, dest: CellNo, request: Request[None]) -> None:
        """Tell `dest`, without an answer; it may get lost."""
        ...


Handler = Callable[[CellNo, Any], Awaitable[Any]]
"""(who asks, the request) -> the reply."""


class _Failure(Struct, tag="failure"):
    status: int
    errcode: str
    message: str
    extra: dict[str, Any]


class _Answer(Struct, tag="answer"):
    body: msgspec.Raw


_OUTCOME = msgspec.msgpack.Decoder(_Failure | _Answer)
_encode = msgspec.msgpack.Encoder().encode


@dataclass
class Fault:
    """What goes wrong between two cells, for tests. Counts run down to zero."""

    cut: bool = False
    delay_s: float = 0.0
    lose_replies: int = 0
    double_calls: int = 0


@dataclass
class InProcessLinks:
    """The links among the cells of one process."""

    faults: dict[tuple[CellNo, CellNo], Fault] = field(default_factory=lambda: defaultdict(Fault))
    recorder: Callable[[CellNo, CellNo, str, bytes], None] | None = None
    """Sees (from, to, flow, bytes) of everything that crosses, both ways."""
    _handlers: dict[tuple[CellNo, type], Handler] = field(default_factory=dict)
    _decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = field(default_factory=dict)
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    def serve(self, cell: CellNo, request: type[Request[Any]], handler: Handler) -> None:
        """Let `handler` answer what `cell` is asked with `request`."""
        self._handlers[cell, request] = handler

    def of(self, src: CellNo) -> "InProcessLink":
        return InProcessLink(src, self)

    def cells(self) -> set[CellNo]:
        return {cell for cell, _ in self._handlers}

    async def close(self) -> None:
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def call(self, src: CellNo, dest: CellNo, request: Request[R], deadline_s: float) -> R:
        fault = self.faults.get((src, dest))
        try:
            async with asyncio.timeout(deadline_s):
                if fault is not None:
                    await self._obstruct(fault, dest)
                    if fault.double_calls > 0:
                        fault.double_calls -= 1
                        await self._deliver(src, dest, request)
                reply = await self._deliver(src, dest, request)
                if fault is not None and fault.lose_replies > 0:
                    fault.lose_replies -= 1
                    raise LinkDown(dest)
                return reply
        except (TimeoutError, _TooLong):
            raise LinkDown(dest) from None

    def send(self, src: CellNo, dest: CellNo, request: Request[None]) -> None:
        task = asyncio.get_running_loop().create_task(self._send(src, dest, request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _send(self, src: CellNo, dest: CellNo, request: Request[None]) -> None:
        try:
            await self.call(src, dest, request, DEADLINE_S)
        except (LinkDown, MatrixError):
            return  # droppable by contract

    async def _obstruct(self, fault: Fault, dest: CellNo) -> None:
        if fault.cut:
            raise LinkDown(dest)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)

    async def _deliver(self, src: CellNo, dest: CellNo, request: Request[R]) -> R:
        handler = self._handlers.get((dest, type(request)))
        if handler is None:
            raise LinkDown(dest)
        kind = type(request)
        asked = self._carry(src, dest, kind.flow, request)
        try:
            answer: _Failure | _Answer = _Answer(msgspec.Raw(_encode(await handler(src, self._decode(kind, asked)))))
        except MatrixError as error:
            answer = _Failure(error.status, error.errcode, error.message, error.extra)
        except (*AWAY, *NO_ROOM):
            raise LinkDown(dest) from None
        except Exception:
            log.exception("cell %s: %s of cell %s could not be answered", dest, kind.flow, src)
            raise LinkDown(dest) from None
        outcome = _OUTCOME.decode(self._carry(dest, src, kind.flow, answer))
        if isinstance(outcome, _Failure):
            raise MatrixError(outcome.message, status=outcome.status, errcode=outcome.errcode, **outcome.extra)
        decoded: R = self._decode(kind.reply, bytes(outcome.body))
        return decoded

    def _carry(self, src: CellNo, dest: CellNo, flow: str, message: object) -> bytes:
        raw = _encode(message)
        if len(raw) > MESSAGE_BYTES_MAX:
            log.error(
                "cell %s: %s to cell %s was not sent: it has %d bytes, and a message between cells at most %d",
                src, flow, dest, len(raw), MESSAGE_BYTES_MAX,
            )  # fmt: skip
            raise _TooLong
        if self.recorder is not None:
            self.recorder(src, dest, flow, raw)
        return raw

    def _decode(self, kind: Any, raw: bytes) -> Any:
        if kind not in self._decoders:
            self._decoders[kind] = msgspec.msgpack.Decoder(kind)
        return self._decoders[kind].decode(raw)


@dataclass(frozen=True)
class InProcessLink:
    """One cell's end of `InProcessLinks`."""

    src: CellNo
    links: InProcessLinks

    async def call(self, dest: CellNo, request: Request[R], deadline_s: float = DEADLINE_S) -> R:
        return await self.links.call(self.src, dest, request, deadline_s)

    def send(self, dest: CellNo, request: Request[None]) -> None:
        self.links.send(self.src, dest, request)
