"""Coming in: accounts that join public rooms, and accounts that log in with their password."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import msgspec

from bench.load import loop, matrix
from bench.load.loop import Tally, Work
from bench.load.matrix import Account, Progress, Target
from bench.load.window import Marks

RESIDENTS = 20
"""Members of each room before anybody else joins it."""


class NobodyLeft(Exception):
    """Everybody has joined everywhere: there are fewer accounts than windows to measure."""


@dataclass
class Joins:
    """Public rooms with their residents, and accounts who have not joined any of them yet, a group for each window."""

    target: Target
    at_once: int
    rooms: list[str]
    resident: Account
    groups: list[list[Account]]

    @classmethod
    async def prepare(
        cls, target: Target, prefix: str, rooms: int, windows: int, group: int, at_once: int, progress: Progress
    ) -> "Joins":
        """Make `rooms` public rooms of RESIDENTS members, and register `group` accounts for each of `windows`."""
        residents = await matrix.accounts(target, [f"{prefix}r{number}" for number in range(RESIDENTS)], progress)
        made = await matrix.rooms(target, [residents[room % RESIDENTS] for room in range(rooms)], progress)
        joins = [
            (residents[(number + step) % RESIDENTS], room)
            for number, room in enumerate(made)
            for step in range(1, RESIDENTS)
        ]
        await matrix.joins(target, joins, progress)
        names = [f"{prefix}{number}" for number in range(windows * group)]
        people = await matrix.accounts(target, names, progress)
        groups = [people[first : first + group] for first in range(0, len(people), group)]
        return cls(target, at_once, made, residents[0], groups)

    async def measure(self, seconds: float, marks: Marks) -> None:
        """One group joins every room, `at_once` joins at a time, each the next pair of account and room by chance.

        The window ends with `seconds`, or when the group is everywhere. Who was told to have joined and is not among
        the members afterwards is missing. Raises: NobodyLeft.
        """
        if not self.groups:
            raise NobodyLeft("there is no group of accounts left for this window")
        pairs = [(who, room) for who in self.groups.pop() for room in self.rooms]
        random.Random(len(self.groups)).shuffle(pairs)
        left, told = iter(pairs), list[tuple[str, str]]()
        tally = Tally()

        async def check() -> None:
            there = await matrix.members(self.target, self.resident, self.rooms)
            tally.missing += sum(who not in there[room] for who, room in told)

        works = [self._join(left, told, tally) for _ in range(self.at_once)]
        await loop.run(self.target, works, seconds, marks, tally, check)

    def _join(self, left: Iterator[tuple[Account, str]], told: list[tuple[str, str]], tally: Tally) -> Work:
        for who, room in left:
            answer = yield matrix.join(room, who.access_token)
            if msgspec.json.decode(answer, type=matrix.Room).room_id == room:
                told.append((who.user_id, room))
            else:
                tally.errors += 1


@dataclass
class Logins:
    """Accounts that log in again and again, each time on a new device."""

    target: Target
    at_once: int
    people: list[Account]

    @classmethod
    async def prepare(cls, target: Target, prefix: str, people: int, at_once: int, progress: Progress) -> "Logins":
        made = await matrix.accounts(target, [f"{prefix}{number}" for number in range(people)], progress)
        return cls(target, at_once, made)

    async def measure(self, seconds: float, marks: Marks) -> None:
        """`at_once` logins at a time. A token that was given out before is a duplicate."""
        tally = Tally()
        tokens: list[str] = []
        works = [self._log_in(self.people[first :: self.at_once], tokens) for first in range(self.at_once)]

        async def check() -> None:
            tally.duplicates += len(tokens) - len(set(tokens))

        await loop.run(self.target, works, seconds, marks, tally, check)

    def _log_in(self, people: list[Account], tokens: list[str]) -> Work:
        for person in cycle(people):
            answer = yield matrix.login(person.user_id)
            tokens.append(msgspec.json.decode(answer, type=Account).access_token)
