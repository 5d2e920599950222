"""`python -m bench.load HOST PORT PREFIX`: carries out the commands on standard input against one server."""

import asyncio
import gc
import resource
import sys
from typing import Protocol

import msgspec
import uvloop

from bench.load import chat
from bench.load.across import Across
from bench.load.commands import (
    Began,
    Closed,
    Command,
    Done,
    Ended,
    Failed,
    Fill,
    HoldChat,
    LogIn,
    MeasureDeliveries,
    MeasureSends,
    MeasureWaiting,
    MeasureWorld,
    PrepareAcross,
    PrepareChat,
    PrepareDeliveries,
    PrepareFirstSyncs,
    PrepareJoins,
    PrepareLogins,
    PreparePages,
    PrepareSends,
    PrepareWaiting,
    Progressed,
    RampDeliveries,
    Report,
    SearchChat,
    World,
)
from bench.load.deliveries import Deliveries, Lost
from bench.load.entering import Joins, Logins, NobodyLeft
from bench.load.filling import Filling
from bench.load.groups import Groups
from bench.load.matrix import Target
from bench.load.reading import FirstSyncs, Pages
from bench.load.sends import Sends
from bench.load.waiting import Waiting
from bench.load.window import Marks, Result
from bench.load.wire import Refused

COMMAND = msgspec.json.Decoder[Command](Command)


class Measurable(Protocol):
    """A prepared world that one window can be taken of."""

    async def measure(self, seconds: float, marks: Marks) -> None: ...


class Generator:
    """Holds the prepared worlds of one server. `prefix` starts the name of every account, so that runs do not meet."""

    def __init__(self, target: Target, prefix: str) -> None:
        self._target = target
        self._prefix = prefix
        self._sends: Sends | None = None
        self._deliveries: dict[int, Deliveries] = {}
        self._groups: Groups | None = None
        self._waiting: dict[int, Waiting] = {}
        self._first_syncs: FirstSyncs | None = None
        self._worlds: dict[World, Measurable] = {}

    async def carry_out(self, command: Command) -> Done:
        match command:
            case PrepareSends(rooms, at_once):
                self._sends = await Sends.prepare(self._target, f"{self._prefix}s", rooms, at_once, progressed)
            case MeasureSends(warm_s, seconds):
                assert self._sends is not None, "sends are prepared before they are measured"
                await self._sends.measure(warm_s, seconds, REPORTS)
            case PrepareDeliveries(members):
                prefix = f"{self._prefix}d{members}x"
                self._deliveries[members] = await Deliveries.prepare(self._target, prefix, members, progressed)
            case RampDeliveries(members, seconds):
                return Done(await self._deliveries[members].ramp(seconds, REPORTS))
            case MeasureDeliveries(members, under_way, seconds):
                await self._deliveries[members].measure(under_way, seconds, REPORTS)
            case PrepareFirstSyncs(rooms, events):
                made = await FirstSyncs.prepare(self._target, f"{self._prefix}f", rooms, events, progressed)
                self._first_syncs = self._worlds[World.FIRST_SYNCS] = made
            case LogIn(devices):
                assert self._first_syncs is not None, "first syncs are prepared before anybody logs in for them"
                await self._first_syncs.log_in(devices, progressed)
            case PreparePages(rooms, pages, at_once):
                prefix = f"{self._prefix}p"
                self._worlds[World.PAGES] = await Pages.prepare(self._target, prefix, rooms, pages, at_once, progressed)
            case PrepareJoins(rooms, windows, group, at_once):
                prefix = f"{self._prefix}j"
                self._worlds[World.JOINS] = await Joins.prepare(
                    self._target, prefix, rooms, windows, group, at_once, progressed
                )
            case PrepareLogins(people, at_once):
                self._worlds[World.LOGINS] = await Logins.prepare(
                    self._target, f"{self._prefix}l", people, at_once, progressed
                )
            case PrepareChat(groups):
                self._groups = await Groups.prepare(self._target, f"{self._prefix}c", groups, progressed)
            case SearchChat(seconds):
                assert self._groups is not None, "the groups are there before their rate is searched for"
                return Done(rate=await chat.highest(self._groups, seconds, REPORTS))
            case HoldChat(rate, seconds):
                assert self._groups is not None, "the groups are there before they are measured"
                await chat.hold(self._groups, rate, seconds, REPORTS)
            case PrepareWaiting(clients, guests):
                prefix = f"{self._prefix}w{clients}x"
                self._waiting[clients] = await Waiting.prepare(self._target, prefix, clients, guests, progressed)
            case MeasureWaiting(clients):
                await self._waiting[clients].measure(REPORTS)
            case PrepareAcross(places, rooms, at_once, readers):
                self._worlds[World.ACROSS] = await Across.prepare(
                    self._target, f"{self._prefix}a", places, rooms, at_once, readers, progressed
                )
            case Fill(accounts, events):
                await Filling(self._target, self._prefix, accounts, events, progressed).run()
            case MeasureWorld(world, seconds):
                await self._worlds[world].measure(seconds, REPORTS)
        return Done()


def report(what: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


class Reports(Marks):
    """The marks of a window, as lines to the runner."""

    def opened(self, concurrency: int) -> None:
        report(Began(concurrency))

    def closed(self) -> None:
        report(Closed())

    def ended(self, result: Result) -> None:
        report(Ended(result))


REPORTS = Reports()


def progressed(what: str, done: int, total: int) -> None:
    report(Progressed(what, done, total))


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions inside a group of them."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def main() -> None:
    host, port, prefix = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # A pause of the collector would be read as one of the server. What a run leaves behind is small.
    gc.disable()
    generator = Generator(Target(host, int(port)), prefix)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin.buffer:
            try:
                report(runner.run(generator.carry_out(COMMAND.decode(line))))
            except (OSError, TimeoutError, Lost, NobodyLeft, Refused, ExceptionGroup) as error:
                report(Failed("; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))))
            gc.collect()


if __name__ == "__main__":
    main()
