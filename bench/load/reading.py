"""Reading: the first sync of a new device, and the pages of a history. Every answer is checked for its events."""

from dataclasses import dataclass, field

import msgspec

from bench.load import loop, matrix
from bench.load.loop import Tally, Work
from bench.load.matrix import Account, Progress, Target
from bench.load.window import Marks

ROOMS_EACH = 5
"""Members of each of the rooms of a first sync, besides the one who syncs."""
RESIDENTS = 20
"""Those who are members of the rooms, some here and some there."""
PAGE = 100


class Named(msgspec.Struct, frozen=True):
    """An event, of which only the id counts."""

    event_id: str


class Timeline(msgspec.Struct, frozen=True):
    events: list[Named] = []


class Joined(msgspec.Struct, frozen=True):
    timeline: Timeline = Timeline()


class Rooms(msgspec.Struct, frozen=True):
    join: dict[str, Joined] = {}


class FirstSync(msgspec.Struct, frozen=True):
    rooms: Rooms = Rooms()


class Page(msgspec.Struct, frozen=True):
    chunk: list[Named]
    end: str = ""


FIRST_SYNC = msgspec.json.Decoder(FirstSync)
PAGES = msgspec.json.Decoder(Page)


def compare(expected: set[str], found: list[str], tally: Tally) -> None:
    """Count what of `expected` is not in `found`, and what is there twice, or was not asked for."""
    seen = set(found)
    tally.missing += len(expected - seen)
    tally.duplicates += len(found) - len(seen) + len(seen - expected)


@dataclass
class FirstSyncs:
    """One account in many rooms, each with as many messages as its first sync shows; it logs in on device after device.

    A device that has never synced has nothing that a server could have kept ready for it, and every request differs
    from those before it: an answer is put together, not found again.
    """

    target: Target
    account: Account
    filter_id: str
    expected: dict[str, set[str]]
    """The ids of the newest events of each room."""
    devices: list[Account] = field(default_factory=list)

    @classmethod
    async def prepare(cls, target: Target, prefix: str, rooms: int, events: int, progress: Progress) -> "FirstSyncs":
        """Make `rooms` rooms of ROOMS_EACH residents and the account, who then say `events` messages in each."""
        names = [f"{prefix}{number}" for number in range(RESIDENTS)]
        [watcher, *residents] = await matrix.accounts(target, [f"{prefix}w", *names], progress)
        members = [[residents[(room + step) % RESIDENTS] for step in range(ROOMS_EACH)] for room in range(rooms)]
        made = await matrix.rooms(target, [there[0] for there in members], progress)
        joins = [(who, room) for room, there in zip(made, members, strict=True) for who in (*there[1:], watcher)]
        await matrix.joins(target, joins, progress)
        said = [
            (there[number % ROOMS_EACH], room)
            for number in range(events)
            for room, there in zip(made, members, strict=True)
        ]
        expected: dict[str, set[str]] = {room: set() for room in made}
        for (_, room), event_id in zip(said, await matrix.sends(target, said, progress), strict=True):
            expected[room].add(event_id)
        [filter_id] = await matrix.filters(target, [watcher], progress, limit=events)
        return cls(target, watcher, filter_id, expected)

    async def log_in(self, count: int, progress: Progress) -> None:
        """`count` new devices, for as many first syncs."""
        self.devices += await matrix.logins(self.target, [self.account] * count, progress)

    async def measure(self, seconds: float, marks: Marks) -> None:
        """The first sync of each new device, one after the other."""
        tally = Tally()
        devices, self.devices = self.devices, []
        await loop.run(self.target, [self._sync(devices, tally)], seconds, marks, tally)

    def _sync(self, devices: list[Account], tally: Tally) -> Work:
        for device in devices:
            answer = yield matrix.initial_sync(device.access_token, self.filter_id)
            joined = FIRST_SYNC.decode(answer).rooms.join
            tally.errors += len(joined.keys() - self.expected.keys())
            for room, expected in self.expected.items():
                timeline = joined.get(room, Joined()).timeline
                compare(expected, [event.event_id for event in timeline.events], tally)


@dataclass
class Pages:
    """Rooms with a long history, and readers who page through it, from the newest to the oldest event."""

    target: Target
    readers: list[tuple[Account, str]]
    expected: dict[str, set[str]]
    """The ids of the messages of each room, a number of full pages."""

    @classmethod
    async def prepare(
        cls, target: Target, prefix: str, rooms: int, pages: int, at_once: int, progress: Progress
    ) -> "Pages":
        """Register `at_once` accounts, spread them over `rooms` rooms, and let them say `pages` pages in each."""
        people = await matrix.accounts(target, [f"{prefix}{number}" for number in range(at_once)], progress)
        made = await matrix.rooms(target, people[:rooms], progress)
        readers = [(person, made[number % len(made)]) for number, person in enumerate(people)]
        await matrix.joins(target, readers[rooms:], progress)
        said = [(people[number % len(made)], made[number % len(made)]) for number in range(rooms * pages * PAGE)]
        expected: dict[str, set[str]] = {room: set() for room in made}
        for (_, room), event_id in zip(said, await matrix.sends(target, said, progress), strict=True):
            expected[room].add(event_id)
        return cls(target, readers, expected)

    async def measure(self, seconds: float, marks: Marks) -> None:
        """Everybody pages at once, and begins again at the end of the messages."""
        tally = Tally()
        works = [self._read(person, room, tally) for person, room in self.readers]
        await loop.run(self.target, works, seconds, marks, tally)

    def _read(self, person: Account, room: str, tally: Tally) -> Work:
        expected = self.expected[room]
        while True:
            found: list[str] = []
            before = ""
            while len(found) < len(expected):
                page = PAGES.decode((yield matrix.page(room, person.access_token, before, PAGE)))
                found += [event.event_id for event in page.chunk]
                before = page.end
                if len(page.chunk) != PAGE:
                    tally.errors += 1
                    break
            compare(expected, found, tally)
