"""A region that was away for longer than another keeps rows for it ends where it would be had it never been away."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hutong.cells import missed, replication
from hutong.cells.link import Fault
from hutong.cells.retention import OUT_KEPT_MIN
from hutong.ids import CellNo, Minute, event_id_bytes
from tests.conftest import Newcomer
from tests.support.client import Client, Json

if TYPE_CHECKING:
    from hutong.node import Node

CN, EU, RU = CellNo(256), CellNo(512), CellNo(768)


class Absence:
    """ru hears nothing from cn for a month and a day."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._source = node.cells[RU].replication._sources[CN]

    def begin(self) -> None:
        """Nothing comes or goes between ru and the others."""
        for other in (CN, EU):
            self._node.link.faults[RU, other] = self._node.link.faults[other, RU] = Fault(cut=True)

    async def turn_deaf(self) -> None:
        """ru answers, but what happens elsewhere does not come to it."""
        assert self._source.task is not None
        self._source.task.cancel()
        await asyncio.gather(self._source.task, return_exceptions=True)
        self._source.task = None

    async def month_passes(self) -> None:
        cell = self._node.cells[CN]
        await cell.retention.sweep(Minute(cell.minute + OUT_KEPT_MIN + 24 * 60), cell.tail.head)

    def end(self) -> None:
        self._node.link.faults.clear()
        if self._source.task is None:
            self._source.portions.clear()
            follow = self._node.cells[RU].replication._follow(CN, self._source)
            self._source.task = asyncio.get_running_loop().create_task(follow)


@pytest.fixture
def absence(node: "Node", monkeypatch: pytest.MonkeyPatch) -> Iterator[Absence]:
    monkeypatch.setattr(missed, "EVENTS_MAX", 4)
    monkeypatch.setattr(replication, "SNAPSHOT_ROWS_MAX", 2)
    made = Absence(node)
    yield made
    made.end()


def told(events: list[Json]) -> list[tuple[str, Json]]:
    return [(event["event_id"], event["content"]) for event in events]


async def until_told(person: Client, room: str, membership: str) -> None:
    await person.until(lambda: person.membership(room) == membership, f"{membership} in {room}")


async def test_after_a_cut_of_more_than_thirty_days_nothing_is_missing(
    alice: Client, bob: Client, carol: Client, lane: str, newcomer: Newcomer, absence: Absence
) -> None:
    careless = await carol.send(lane, "what I should not have said")
    await alice.sees(lane, careless)
    await carol.sees(lane, await bob.send(lane, "before"))
    known = len(carol.timeline[lane])
    absence.begin()
    said = [await person.send(lane, f"{n} {person.name}") for n in range(4) for person in (alice, bob)]
    await alice.redact(lane, careless)
    await alice.set_state(lane, "m.room.topic", {"topic": "autumn"})
    await (dora := await newcomer("dora", "eu")).join(lane)
    await bob.mark_read(lane, said[-1])
    await absence.month_passes()
    kept = await alice.send(lane, "still in the outbox")
    absence.end()
    await carol.sees(lane, kept)
    assert carol.state[lane]["m.room.topic", ""]["content"] == {"topic": "autumn"}
    assert [event["event_id"] for event in carol.timeline[lane][known:] if "body" in event["content"]] == [*said, kept]
    assert (await carol.event(lane, careless))["content"] == {}
    await carol.until(lambda: bob.user_id in str(carol.receipts[lane].get(said[-1])), "bob's marker")
    assert await carol.members(lane) == await alice.members(lane)
    assert dora.user_id in await carol.members(lane)
    assert told(await carol.history(lane)) == told(await alice.history(lane))
    assert (await carol.all_state(lane)).keys() == (await alice.all_state(lane)).keys()


async def test_who_was_invited_or_sent_away_meanwhile_hears_of_it_and_of_nothing_else(
    alice: Client, bob: Client, carol: Client, lane: str, newcomer: Newcomer, node: "Node", absence: Absence
) -> None:
    await carol.poll()
    guest = await newcomer("carla", "ru")
    other = await alice.create_room(preset="public_chat")
    await alice.send(other, "among ourselves")
    await absence.turn_deaf()
    await alice.kick(lane, carol)
    await alice.invite(other, guest)
    unheard = [await bob.send(lane, "now that she is gone"), await alice.send(other, "she has not come yet")]
    await absence.month_passes()
    absence.end()
    await until_told(carol, lane, "leave")
    await guest.until(lambda: other in guest.invitations, "the invitation")
    for event_id in unheard:
        raw = event_id_bytes(event_id)
        assert raw is not None
        assert await node.cells[RU].reads.event_by_id(raw) is None, "what is none of its business did not come"
    await guest.join(other)
    await guest.sees(other, await alice.send(other, "welcome"))
    assert await guest.members(other) == await alice.members(other)


async def test_a_cell_that_begins_to_follow_gets_all_pages(
    alice: Client, bob: Client, carol: Client, room: str, newcomer: Newcomer, node: "Node", absence: Absence
) -> None:
    await (dora := await newcomer("dora", "eu")).join(room)
    for n in range(5):
        await alice.set_state(room, "org.example.lamp", {"n": n}, key=f"{n}")
    for person in (alice, bob, dora):
        await person.mark_read(room, await alice.send(room, "x"))
    await carol.join(room)
    mark = await alice.send(room, "mark")
    await carol.sees(room, mark)
    assert await carol.all_state(room) == await alice.all_state(room)
    number = node.cells[RU].view.room_no(room)
    assert number is not None
    theirs, ours = [await node.cells[cell].reads.receipts(number) for cell in (CN, RU)]
    assert ours == theirs
    assert len(ours) == 3
