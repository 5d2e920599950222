"""The chat mix: groups of ten who wait in `/sync`, type, say something, and mark what they have read.

An open loop: every message is due at a time of its own, whatever the server does, and its latency counts from then. So
a server that falls behind shows it, and the highest rate that it keeps up with can be searched for (`search.py`).
"""

import asyncio
import random
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter, process_time

import msgspec

from bench.load import matrix, search, wire
from bench.load.groups import GROUP, NUMBER, Groups, Member, Pace
from bench.load.search import Step
from bench.load.voice import Voice
from bench.load.window import Marks, Result, quantile_ms

TYPED_EVERY = 3
"""Before one message in so many its sender is shown typing."""
READERS = (2, 3)
"""So many of the others send a read receipt for a message when they get it."""
MESSAGES_MIN = 12
"""A step at a low rate takes as long as so many messages need."""
TURNED_AWAY = (429, 503)
AGAIN_S = 1.0
"""When a sync is asked for again that was turned away."""
TICK_S = 0.001
"""Messages that are due within it go out together, so that the generator sleeps in between."""
TOGETHER_MAX = 64
"""After so many of them the answers have their turn."""
SETTLE_S = 0.01
LATE_MS = 100.0
GAP_MS, GAP_TIMES = 300.0, 3.0
"""Something stood still: the generator itself woke up LATE_MS too late, or nobody heard anything for GAP_MS and for
GAP_TIMES the usual latency or distance of two messages."""


class Event(msgspec.Struct, frozen=True):
    type: str
    event_id: str
    content: matrix.Content


class Timeline(msgspec.Struct, frozen=True):
    events: list[Event] = []


class Ephemeral(msgspec.Struct, frozen=True):
    type: str


class Ephemerals(msgspec.Struct, frozen=True):
    events: list[Ephemeral] = []


class Joined(msgspec.Struct, frozen=True):
    timeline: Timeline = Timeline()
    ephemeral: Ephemerals = Ephemerals()


class Rooms(msgspec.Struct, frozen=True):
    join: dict[str, Joined] = {}


class Synced(msgspec.Struct, frozen=True):
    next_batch: str
    rooms: Rooms = Rooms()


SYNCED = msgspec.json.Decoder(Synced)


async def highest(groups: Groups, seconds: float, marks: Marks) -> float:
    """The highest rate of messages that the server keeps up with, in steps of `seconds`; 0 if it keeps up with none."""
    async with _crowd(groups) as crowd:
        return await search.highest(partial(crowd.step, seconds=seconds, marks=marks))


async def hold(groups: Groups, rate: float, seconds: float, marks: Marks) -> None:
    """Windows of `seconds` around `rate`, until one that is kept up with and one that is not are known."""
    async with _crowd(groups) as crowd:
        await search.hold(partial(crowd.step, seconds=seconds, marks=marks), rate)


def kept_up(result: Result, limit_ms: float = Pace.limit_ms) -> bool:
    """Whether the server kept up with the rate of `result`: soon enough, and with nothing lost, doubled or refused."""
    wrong = result.errors or result.missing or result.duplicates or result.turned_away
    return result.operations > 0 and result.p99_ms < limit_ms and not wrong


def disturbed(result: Result, rate: float, late_ms: float) -> bool:
    """Whether something stood still meanwhile."""
    usual_ms = max(result.p50_ms, 1_000 / rate)
    return late_ms >= LATE_MS or result.longest_gap_ms >= max(GAP_MS, GAP_TIMES * usual_ms)


class _Message:
    """One message: when it was due, who has got it, who will send a receipt for it. Members are bits."""

    __slots__ = ("counts", "due", "left", "number", "readers", "seen")

    def __init__(self, number: int, due: float, readers: int, *, counts: bool) -> None:
        self.number = number
        self.due = due
        self.readers = readers
        self.counts = counts
        self.seen = 0
        self.left = GROUP + 1  # and the answer to its sender


class _Crowd:
    """Every member waits on a connection of its own; a step lets some of them type, speak and mark what they read."""

    def __init__(self, world: Groups, voices: list[Voice]) -> None:
        self._world = world
        self._voices = voices
        self._messages: dict[int, _Message] = {}
        self._latencies_s = array("d")
        self._began = 0.0
        self._oldest = 0
        self._open = False
        self._complete = self._incomplete = 0
        self._all_complete = asyncio.Event()
        self._last_heard = self._longest_gap_s = 0.0
        self._duplicates = self._errors = self._turned_away = 0
        self._said: dict[str, int] = {}
        self._heard: dict[str, int] = {}

    def wait(self, member: Member, voice: Voice, connection: wire.Connection) -> None:
        """Poll for ever: read what came, ask again from there, and send receipts."""
        place = 1 << member.place
        messages = self._messages

        def done(status: int, body: bytes) -> None:
            if status != 200:
                if status in TURNED_AWAY:
                    self._turned_away += 1
                    asyncio.get_running_loop().call_later(AGAIN_S, poll)
                else:
                    self._errors += 1  # this member hears no more, so its deliveries go missing and are reported
                return
            synced = SYNCED.decode(body)
            member.since = synced.next_batch
            poll()
            joined = synced.rooms.join.get(member.room)
            if joined is None:
                return
            now = perf_counter()
            for event in joined.timeline.events:
                if event.type == "m.room.message":
                    message = messages.get(int(event.content.body[: len(NUMBER)]))
                    if message is None or message.seen & place:  # None: of an earlier step, by a server that forgot
                        self._duplicates += 1
                    else:
                        message.seen |= place
                        self._got(message, now)
                        if message.readers & place:
                            voice.say(member.has_read(event.event_id), partial(self._answered, "m.receipt"))
            for ephemeral in joined.ephemeral.events:
                self._heard[ephemeral.type] = self._heard.get(ephemeral.type, 0) + 1

        def poll() -> None:
            connection.send(member.poll.since(member.since), done)

        poll()

    def _got(self, message: _Message, now: float) -> None:
        if message.counts:
            self._latencies_s.append(now - message.due)
        if self._open:
            self._longest_gap_s = max(self._longest_gap_s, now - self._last_heard)
            self._last_heard = now
        self._progressed(message)

    def _progressed(self, message: _Message) -> None:
        message.left -= 1
        if not message.left:
            self._complete += self._open
            self._done_with(message)

    def _done_with(self, message: _Message) -> None:
        message.left = 0
        self._incomplete -= 1
        if not self._incomplete:
            self._all_complete.set()

    def _answered(self, what: str, status: int, _: bytes) -> None:
        if status == 200:
            self._said[what] = self._said.get(what, 0) + 1
        elif status in TURNED_AWAY:
            self._turned_away += 1
        else:
            self._errors += 1

    def _say(self, speaker: int, at: float, readers: int, *, counts: bool) -> None:
        world = self._world
        message = _Message(world.messages, self._began + at, readers, counts=counts)
        self._messages[message.number] = message
        world.messages += 1
        self._incomplete += 1
        self._all_complete.clear()

        def done(status: int, body: bytes) -> None:
            self._answered("m.room.message", status, body)
            if status == 200:
                self._progressed(message)
            elif status in TURNED_AWAY:
                del self._messages[message.number]  # nobody may hear it
                self._done_with(message)

        self._voices[speaker].say(world.members[speaker].says(message.number), done)

    def _type(self, speaker: int, *, begins: bool) -> None:
        member = self._world.members[speaker]
        self._voices[speaker].say(member.types if begins else member.stops, partial(self._answered, "m.typing"))

    async def step(self, rate: float, *, seconds: float, marks: Marks) -> Step:
        """Messages at `rate`, for a lead and then for `seconds`; returns when all that was said is everywhere.

        When the oldest message is hopelessly late nothing more is sent, and what was is still waited for.
        """
        self._messages.clear()
        self._oldest = self._world.messages
        self._latencies_s = array("d")
        self._said, self._heard = {}, {}
        self._complete = self._incomplete = self._duplicates = self._errors = self._turned_away = 0
        opened = closed = cpu_s = 0.0

        def open_() -> None:
            nonlocal opened, cpu_s
            marks.opened(max(1, round(rate)))
            opened, cpu_s = perf_counter(), process_time()
            self._open, self._last_heard, self._longest_gap_s = True, opened, 0.0

        def close() -> None:
            nonlocal closed, cpu_s
            closed, cpu_s = perf_counter(), process_time() - cpu_s
            self._open, self._longest_gap_s = False, max(self._longest_gap_s, closed - self._last_heard)
            marks.closed()

        late_s = await self._run(self._plan(rate, max(seconds, MESSAGES_MIN / rate), open_, close))
        if not closed:
            close()
        await self._settle()
        missing = sum(GROUP - message.seen.bit_count() for message in self._messages.values())
        # Somebody must have been told of what others typed and read, or a server that forgets it would win.
        forgotten = sum(what not in self._heard for what in ("m.typing", "m.receipt") if what in self._said)
        ordered = sorted(self._latencies_s)
        result = Result(
            operations=self._complete,
            seconds=closed - opened,
            concurrency=max(1, round(rate)),
            p50_ms=quantile_ms(ordered, 0.50),
            p99_ms=quantile_ms(ordered, 0.99),
            longest_gap_ms=self._longest_gap_s * 1_000,
            generator_cpu_s=cpu_s,
            errors=self._errors + forgotten,
            missing=missing,
            duplicates=self._duplicates,
            turned_away=self._turned_away,
        )
        marks.ended(result)
        limit_ms = self._world.pace.limit_ms
        return Step(
            result=result,
            kept_up=kept_up(result, limit_ms),
            at_ease=result.p99_ms < limit_ms * search.AT_EASE,
            disturbed=disturbed(result, rate, late_s * 1_000),
        )

    def _plan(
        self, rate: float, seconds: float, open_: Callable[[], None], close: Callable[[], None]
    ) -> list[tuple[float, Callable[[], None]]]:
        """What happens in a step, and when: seconds after it began."""
        world, chance = self._world, random.Random(self._world.steps)
        world.steps += 1
        lead_s = world.pace.lead_s
        before, counted = round(rate * lead_s), round(rate * seconds)
        plan: list[tuple[float, Callable[[], None]]] = [(before / rate, open_), ((before + counted) / rate, close)]
        for number in range(before + counted):
            at = number / rate
            speaker = chance.randrange(len(world.members))
            others = [place for place in range(GROUP) if place != world.members[speaker].place]
            readers = sum(1 << place for place in chance.sample(others, chance.choice(READERS)))
            plan.append((at, partial(self._say, speaker, at, readers, counts=number >= before)))
            if number % TYPED_EVERY == 0 and at >= lead_s:
                plan.append((at - lead_s, partial(self._type, speaker, begins=True)))
                plan.append((at, partial(self._type, speaker, begins=False)))
        plan.sort(key=lambda due: due[0])  # stable: who spoke stops typing then
        return plan

    async def _run(self, plan: list[tuple[float, Callable[[], None]]]) -> float:
        """Do what is due, and sleep in between; returns how late the latest of it was, in seconds."""
        self._began = perf_counter()
        late_s = 0.0
        since_slept = 0
        for at, act in plan:
            wait_s = self._began + at - perf_counter()
            since_slept += 1
            if wait_s > 0 or since_slept > TOGETHER_MAX:
                await asyncio.sleep(max(TICK_S, wait_s))
                since_slept = 0
                if self._is_hopeless():
                    break
            late_s = max(late_s, perf_counter() - self._began - at)
            act()
        return late_s

    def _is_hopeless(self) -> bool:
        while (oldest := self._messages.get(self._oldest)) is None or not oldest.left:
            if self._oldest >= self._world.messages:
                return False
            self._oldest += 1
        return perf_counter() - oldest.due > self._world.pace.hopeless_s

    async def _settle(self) -> None:
        """Wait until everything that was said is everywhere and has been answered, or for `drain_s`."""
        try:
            async with asyncio.timeout(self._world.pace.drain_s):
                if self._incomplete:
                    await self._all_complete.wait()
                while not all(voice.silent for voice in self._voices):
                    await asyncio.sleep(SETTLE_S)
        except TimeoutError:
            return


@asynccontextmanager
async def _crowd(world: Groups) -> AsyncIterator[_Crowd]:
    """All members, waiting."""
    target, count = world.target, len(world.members)
    polls = await wire.connect_many(target.host, target.port, count)
    voices = [Voice(target, made) for made in await wire.connect_many(target.host, target.port, count)]
    crowd = _Crowd(world, voices)
    try:
        for member, voice, connection in zip(world.members, voices, polls, strict=True):
            crowd.wait(member, voice, connection)
        yield crowd
    finally:
        for connection in polls:
            connection.close()
        for voice in voices:
            voice.close()
