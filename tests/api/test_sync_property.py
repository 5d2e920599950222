"""Many write and many read at once, over ways that fail, with tokens used again: what each was told is the room.

For any interleaving: a timeline with all pages before it is the room, in order, each event once; what continues a
timeline repeats nothing and leaves nothing out without saying so; and the state, added up, is the state.
"""

import asyncio
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest

from hutong.cells.link import Fault
from tests.api.test_sync_sources import caller_of
from tests.conftest import Newcomer
from tests.support.client import Client, Refused
from tests.support.readers import Habit, Reader, Room, judge, judge_pages, judge_state
from tests.support.ways import Ways

if TYPE_CHECKING:
    from hutong.node import Node

T = TypeVar("T")

SEEDS, SEEDS_SOAKING = 1, 60
WRITERS, ACTS, READS = 5, 14, 25
MAY_REFUSE = {403, 404, 503}
PAGED = 6
SLOW = [Fault(delay_s=0.02), Fault(double_calls=3), Fault(lose_replies=1), Fault(), Fault()]
MESSAGES = ("m.room.message",)


class Town:
    """People of three regions in one room. alice of cn made it and stays."""

    def __init__(self, node: "Node", room: str, people: list[Client], chance: random.Random) -> None:
        self.node, self.room, self.people, self.chance = node, room, people, chance
        self.sent: list[str] = []
        self.texts = map(str, itertools.count())
        self.writing = 0
        self.cut = False
        """Whether a way has been cut so far."""

    async def act(self) -> None:
        alice, room = self.people[0], self.room
        who = self.chance.choice(self.people)
        match self.chance.choice(
            ["say"] * 8 + ["join"] * 4 + ["leave", "kick", "invite", "redact", "topic", "name", "custom"]
        ):
            case "say":
                self.sent.append(await who.send(room, next(self.texts)))
            case "custom":
                await who.send_event(room, "cn.hutong.custom", {"body": next(self.texts)})
            case "join":
                await who.join(room)
            case "leave" if who is not alice:
                await who.leave(room)
            case "kick" if who is not alice:
                await alice.kick(room, who)
            case "invite" if who is not alice:
                await alice.invite(room, who)
            case "redact" if self.sent:
                await alice.redact(room, self.chance.choice(self.sent))
            case "topic":
                await alice.set_state(room, "m.room.topic", {"topic": next(self.texts)})
            case "name":
                await who.put(f"/profile/{who.user_id}/displayname", {"displayname": next(self.texts)})

    async def writer(self) -> None:
        self.writing += 1
        for _ in range(ACTS):
            try:
                await self.act()
            except Refused as refusal:
                if refusal.answer.status not in MAY_REFUSE:
                    raise
        self.writing -= 1

    async def reader(self, reader: Reader) -> None:
        slices, who = await caller_of(self.node, reader.client)
        for _ in range(READS):
            if reader.chance.random() < 0.3:  # as after a minute away: only the tables know what was before
                slices.sync.sessions.end(who.account, who.device)
            await reader.step(timeout=reader.chance.choice([0, 0, 50]), cut=self.cut)
            if not self.writing:
                return

    async def weather(self) -> None:
        """What happens to the ways between regions meanwhile."""
        while self.writing:
            src, dest = self.chance.sample(sorted(self.node.cells), 2)
            self.node.link.faults[src, dest] = self.chance.choice(SLOW)
            await asyncio.sleep(0.03)
        self.node.link.faults.clear()

    async def cuts(self) -> None:
        """A region is cut off from another, or from both, for longer or shorter; then the ways are free again."""
        while self.writing:
            lone, *others = self.chance.sample(sorted(self.node.cells), self.chance.choice([2, 3]))
            self.cut = True
            for other in others:
                for way in ((lone, other), (other, lone)):
                    self.node.link.faults[way] = Fault(cut=True)
            await asyncio.sleep(self.chance.choice([0.1, 0.5, 1.0]))
            self.node.link.faults.clear()
            await asyncio.sleep(self.chance.choice([0.05, 0.3, 0.8]))

    async def settle(self, readers: list[Reader]) -> str:
        """Everybody is in again, and every reader is told of one last message."""
        await self.all_is_said()
        await patiently(self.everybody_in)
        mark = await patiently(partial(self.people[0].send, self.room, "mark"))
        for reader in readers:
            wrong: list[str] = []
            try:
                async with asyncio.timeout(20):
                    # What was left out of a cut-off region is told anew, before or after the mark.
                    while wrong := await self.untold(reader, mark):
                        await reader.step(back=0, timeout=1_000, cut=self.cut)
            except TimeoutError:
                raise AssertionError("never told: " + "; ".join(wrong)) from None
        if self.cut:  # a way that is free again may not have been found so, and pages leave out as much as syncs
            await Ways(self.node).healed()
            for reader in readers:
                await reader.step(back=0, cut=self.cut)
        return mark

    async def all_is_said(self) -> None:
        """Who left during a cut is in, as the room's home has it, until that hears of it: then they would be out."""
        async with asyncio.timeout(20):
            for cell in self.node.cells.values():
                while await cell.reads.unsettled():
                    await asyncio.sleep(0.05)

    async def everybody_in(self) -> None:
        """As the room's home has it: who was put out during a cut still counts as joined where that is not heard of."""
        while out := {person.user_id for person in self.people} - set(await self.people[0].joined_members(self.room)):
            for person in self.people:
                if person.user_id in out:
                    await person.join(self.room)
            await asyncio.sleep(0.1)

    async def untold(self, reader: Reader, mark: str) -> list[str]:
        """What a reader is still to be told of."""
        if reader.known.last != mark:
            return [f"{reader.client.user_id} ({reader.habit}): ends with {reader.known.last}, not the mark {mark}"]
        return judge_state(reader, await reader.state()) if self.cut else []


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to `ask`, once the ways that were cut are found to be free again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await ask()
            except Refused as refusal:
                if refusal.answer.status != 503:
                    raise
            await asyncio.sleep(0.1)


def habits(chance: random.Random) -> Habit:
    return Habit(
        limit=chance.choice([1, 3, 10, 100]),
        types=chance.choice([None, None, MESSAGES]),
        lazy=chance.random() < 0.4,
        state_after=chance.random() < 0.4,
    )


async def play(node: "Node", newcomer: Newcomer, seed: int, *, cuts: bool) -> None:
    chance = random.Random(seed)
    people = [await newcomer(name, region) for name, region in (
        ("alice", "cn"), ("anna", "cn"), ("bob", "eu"), ("carol", "ru"), ("dave", "ru")
    )]  # fmt: skip
    visibility = chance.choice(["shared", "joined", "invited"])
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
    room = await people[0].create_room(preset="public_chat", initial_state=state)
    town = Town(node, room, people, chance)
    readers = [
        Reader(client, room, habits(chance), random.Random(chance.random()))
        for person in people
        for client in (person, person)
    ]
    try:
        await asyncio.gather(
            *(town.writer() for _ in range(WRITERS)),
            *(town.reader(reader) for reader in readers),
            town.cuts() if cuts else town.weather(),
        )
    finally:
        node.link.faults.clear()
    try:
        await town.settle(readers)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, {visibility}: {error}") from None
    whole = Room(await patiently(partial(people[0].history, room, "f", page=100)), visibility)
    wrong: list[str] = []
    for person in people:
        seen = [event["event_id"] for event in whole.visible(person.user_id)]
        for dir, there in (("f", seen), ("b", seen[::-1])):
            told = [event["event_id"] for event in await person.history(room, dir, page=chance.choice([7, 100]))]
            if told != there:
                wrong.append(f"{person.user_id}: the pages {dir} are not the room")
    states = {person.user_id: await person.all_state(room) for person in people}
    for reader in readers:
        wrong += judge(reader, whole)
        sampled = chance.sample(reader.edges, min(PAGED, len(reader.edges)))
        wrong += await judge_pages(reader, whole, sampled)
        wrong += judge_state(reader, states[reader.client.user_id])
    assert not wrong, f"seed {seed}, {visibility}:\n" + "\n".join(wrong)


def seeds(count: int) -> list[int]:
    """HUTONG_TEST_SEED plays one again."""
    given = os.environ.get("HUTONG_TEST_SEED")
    first = int(given) if given else random.SystemRandom().randrange(2**32)
    return [first] if given else [first + n for n in range(count)]


@pytest.mark.soak
async def test_what_everybody_was_told_is_the_room(node: "Node", newcomer: Newcomer, soaking: bool) -> None:
    for seed in seeds(SEEDS_SOAKING if soaking else SEEDS):
        await play(node, newcomer, seed, cuts=False)


@pytest.mark.soak
async def test_after_cuts_too_and_nothing_was_told_out_of_order(
    node: "Node", newcomer: Newcomer, soaking: bool
) -> None:
    for seed in seeds(SEEDS_SOAKING if soaking else 1):
        await play(node, newcomer, seed, cuts=True)
