"""People of three regions come and go, speak and take back, while ways fail: in the end everybody sees one room."""

import asyncio
import itertools
import random
from typing import TYPE_CHECKING

from hutong.cells.link import Fault
from hutong.ids import CellNo
from tests.conftest import Newcomer
from tests.support.client import Client, Refused

if TYPE_CHECKING:
    from hutong.node import Node

CELLS = (256, 512, 768)
STEPS, STEPS_SOAKING = 60, 600
MAY_REFUSE = {403, 404, 503}


class Storm:
    def __init__(self, node: "Node", room: str, people: list[Client], chance: random.Random) -> None:
        self.node, self.room, self.people, self.chance = node, room, people, chance
        self.sent: list[str] = []
        self.texts = map(str, itertools.count())

    async def step(self) -> None:
        who, other = self.chance.sample(self.people, 2)
        room = self.room
        match self.chance.choice(
            ["say"] * 5 + ["join"] * 4 + ["leave", "invite", "kick", "redact", "topic", "way", "start"]
        ):
            case "say":
                self.sent.append(await who.send(room, next(self.texts)))
            case "join":
                await who.join(room)
            case "leave" if who is not self.people[0]:
                await who.leave(room)
            case "invite":
                await self.people[0].invite(room, other)
            case "kick" if other is not self.people[0]:
                await self.people[0].kick(room, other)
            case "redact" if self.sent:
                await self.people[0].redact(room, self.chance.choice(self.sent))
            case "topic":
                await self.people[0].set_state(room, "m.room.topic", {"topic": next(self.texts)})
            case "way":
                self.worsen()
            case "start":
                self.forget_memory()

    def worsen(self) -> None:
        src, dest = self.chance.sample(CELLS, 2)
        fault = self.chance.choice(
            [Fault(cut=True), Fault(double_calls=5), Fault(delay_s=0.02), Fault(lose_replies=1), Fault(), Fault()]
        )
        self.node.link.faults[CellNo(src), CellNo(dest)] = fault

    def forget_memory(self) -> None:
        """As after a start: the tables are all that a writer knows of the room."""
        cell = self.node.cells[CellNo(self.chance.choice(CELLS))]
        room = cell.view.room_no(self.room)
        assert room is not None
        cell.memory.drop([room])

    async def run(self, steps: int) -> None:
        async def one() -> None:
            try:
                async with asyncio.timeout(20):
                    await self.step()
            except Refused as refusal:
                if refusal.answer.status not in MAY_REFUSE:
                    raise

        for _ in range(steps // 3):
            await asyncio.gather(one(), one(), one())
        self.node.link.faults.clear()


async def test_in_the_end_everybody_sees_one_room(
    node: "Node", newcomer: Newcomer, seeded: random.Random, soaking: bool
) -> None:
    people = [await newcomer(name, region) for name, region in (
        ("alice", "cn"), ("anna", "cn"), ("bob", "eu"), ("carol", "ru"), ("dave", "ru")
    )]  # fmt: skip
    room = await people[0].create_room(preset="public_chat")
    storm = Storm(node, room, people, seeded)
    try:
        await storm.run(STEPS_SOAKING if soaking else STEPS)
    finally:
        node.link.faults.clear()
    for person in people:
        await person.join(room)
    mark = await people[0].send(room, "mark")
    for person in people:
        await person.sees(room, mark)
    alice = people[0]
    whole = await alice.history(room)
    members, state = await alice.members(room), await alice.all_state(room)
    texts = [event["content"]["body"] for event in whole if "body" in event["content"]]
    assert len(texts) == len(set(texts)), "nothing is there twice"
    assert {event["event_id"] for event in whole} >= set(storm.sent), "nothing that was acknowledged is lost"
    for person in people[1:]:
        there = await person.history(room)
        assert [event["event_id"] for event in there] == [event["event_id"] for event in whole], person.name
        assert [event["content"] for event in there] == [event["content"] for event in whole], person.name
        assert await person.members(room) == members, person.name
        assert (await person.all_state(room)).keys() == state.keys()
    told = await newcomer_view(people)
    assert all(each == members for each in told), "a fresh client is told the same"


async def newcomer_view(people: list[Client]) -> list[dict[str, str]]:
    views = []
    for person in people:
        body = await person.sync(filter='{"room":{"timeline":{"limit":1}}}')
        [told] = list(body["rooms"]["join"].values())
        events = told["state"]["events"] + told["timeline"]["events"]
        views.append(
            {event["state_key"]: event["content"]["membership"] for event in events if event["type"] == "m.room.member"}
        )
    return views
