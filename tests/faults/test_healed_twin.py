"""A region that was cut off and is back equals its twin that never was: the same state, the same events, for everybody.

The same day is lived twice, by other people under the same names: once with ru cut off in the middle of it, for seconds
or for a week by the clock, and with nothing left in memory; once without.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from hutong import config
from hutong.ids import Minute
from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF, Newcomer, newcomers
from tests.support.client import Client, Http, Json
from tests.support.openapi import Contract
from tests.support.places import data_folder, free_ports
from tests.support.ways import RU, Ways, forget_words

if TYPE_CHECKING:
    from hutong.node import Node

Found = dict[tuple[str, ...], list[Any]]
"""By who observed it, and what of which room: a timeline, or the state."""
WEEK_S = 7 * 24 * 3_600.0
FILTER = {"room": {"timeline": {"limit": 5}}}


class Clock:
    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@dataclass
class Town:
    """A node whose clock can be moved."""

    node: "Node"
    newcomer: Newcomer
    clock: Clock

    async def sweep(self) -> None:
        """What an hour's work would throw away by now."""
        for cell in self.node.cells.values():
            await cell.retention.sweep(Minute(int(self.clock() // 60)), cell.tail.head)


@pytest.fixture(scope="module")
async def town(session: aiohttp.ClientSession, contract: Contract | None) -> AsyncIterator[Town]:
    from hutong.node import start

    with data_folder("twins") as folder:
        settings, clock = folder / "hutong.toml", Clock()
        settings.write_text(LIMITS_OFF + CHEAP_PASSWORDS)
        node = await start(config.load(settings, {}, data=folder / "data", port=free_ports()), clock=clock)
        try:
            yield Town(node, newcomers(node, Http(session, node.base_url, contract)), clock)
        finally:
            await node.stop()


@dataclass
class Observer:
    """A client that believes what `/sync` tells it, and pages for what is before."""

    client: Client
    since: str | None = None
    lines: dict[str, list[Json]] = field(default_factory=dict)
    before: dict[str, str | None] = field(default_factory=dict)
    state: dict[str, dict[tuple[str, str], Json]] = field(default_factory=dict)

    async def poll(self) -> None:
        body = await self.client.sync(self.since, filter=FILTER)
        self.since = body["next_batch"]
        for room, told in body.get("rooms", {}).get("join", {}).items():
            line, state = told.get("timeline", {}), self.state.setdefault(room, {})
            if room not in self.lines or line.get("limited"):
                self.lines[room], self.before[room] = [], line.get("prev_batch")
            self.lines[room] += line.get("events", [])
            for event in [*told.get("state", {}).get("events", []), *line.get("events", [])]:
                if "state_key" in event:
                    state[event["type"], event["state_key"]] = event

    async def whole(self, room: str) -> list[Json]:
        """The timeline that it has, with every page before it."""
        pages: list[Json] = []
        token = self.before[room]
        while token is not None:
            page = await self.client.messages(room, "b", limit=7, **{"from": token})
            pages += page["chunk"]
            token = page.get("end")
        return [*reversed(pages), *self.lines[room]]


async def day(town: Town, *, cut: bool, away_s: float = 0.0) -> Found:
    """Live the day; what everybody has in the end."""
    ways = Ways(town.node)
    alice, bob, carol = [
        await town.newcomer(name, region) for name, region in (("alice", "cn"), ("bob", "eu"), ("carol", "ru"))
    ]
    square = await alice.create_room(
        preset="public_chat", name="Square", power_level_content_override={"state_default": 0}
    )
    garden = await alice.create_room(preset="public_chat", name="Garden")
    house = await carol.create_room(preset="public_chat", name="House")
    for room in (square, garden, house):
        for person in (alice, bob, carol):
            await person.join(room)
    await carol.set_state(square, "m.room.topic", {"topic": "said by ru"})
    mine = [await carol.send(square, f"carol {n}") for n in range(3)]
    hers = await alice.send(square, "alice's, soon to be taken back")
    for person in (alice, bob, carol):
        for room in (square, garden, house):
            await person.sees(room, await person.send(room, f"{person.name[:3]} is here"))
    stayed = {name: Observer(await p.another_device()) for name, p in (("a", alice), ("b", bob), ("c", carol))}
    slept = {name: Observer(await p.another_device()) for name, p in (("a", alice), ("b", bob), ("c", carol))}
    for observer in [*stayed.values(), *slept.values()]:
        await observer.poll()

    if cut:
        await ways.cut_and_noticed(RU)
        town.clock.ahead_s += away_s
        for region in ("cn", "eu", "ru"):
            forget_words(town.node, region)
        await town.sweep()
    came = {name: Observer(await p.another_device()) for name, p in (("a", alice), ("b", bob), ("c", carol))}
    for observer in [*came.values(), *stayed.values()]:
        await observer.poll()
    for n in range(4):
        await alice.send(square, f"alice while ru is away {n}")
        await bob.send(square, f"bob while ru is away {n}")
        await carol.send(house, f"carol at home {n}")
    await alice.set_state(square, "m.room.name", {"name": "Square, renamed"})
    await alice.redact(square, hers)
    await alice.redact(square, mine[1])
    await carol.leave(garden)
    for observer in [*came.values(), *stayed.values()]:
        await observer.poll()
    if cut:
        await ways.healed()

    marks = {room: await alice.send(room, "the end") for room in (square, garden, house)}
    for person in (alice, bob, carol):
        for room in (square, house) if person is carol else (square, garden, house):
            await person.sees(room, marks[room])
    await alice.until(lambda: alice.membership(garden, carol) == "leave", "carol's leaving")
    fresh = {name: Observer(await p.another_device()) for name, p in (("a", alice), ("b", bob), ("c", carol))}
    label = labels({alice.user_id: "alice", bob.user_id: "bob", carol.user_id: "carol"})

    def held(state: Iterable[Json]) -> list[str]:
        """Without `unsigned`: what came in a timeline has more in it than what came as state."""
        return sorted(str(label({key: event[key] for key in event if key != "unsigned"})) for event in state)

    found: Found = {}
    for kind, observers in (("stayed", stayed), ("slept", slept), ("came", came), ("fresh", fresh)):
        for name, observer in observers.items():
            await observer.poll()
            await observer.poll()
            for title, room in (("square", square), ("house", house)):
                found[kind, name, title, "line"] = [label(event) for event in await observer.whole(room)]
                found[kind, name, title, "state"] = held(observer.state[room].values())
            if name != "c":
                found[kind, name, "garden", "state"] = held(observer.state[garden].values())
    return found


def labels(people: dict[str, str]) -> Callable[[Any], Any]:
    """What is left of an event when numbers and hours are taken out, and people are called by their names."""
    texts: dict[str, str] = {}

    def label(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                label(key): label(inner)
                for key, inner in value.items()
                if key not in ("origin_server_ts", "age", "room_id", "transaction_id")
            }
        if isinstance(value, list):
            return [label(inner) for inner in value]
        if isinstance(value, str) and value in people:
            return people[value]
        if isinstance(value, str) and value.startswith("$"):
            return texts.setdefault(value, f"event {len(texts)}")
        return value

    return label


@pytest.mark.parametrize("away_s", [0.0, WEEK_S], ids=["seconds", "a week"])
async def test_a_healed_region_equals_its_twin_that_was_never_cut(town: Town, away_s: float) -> None:
    twin = await day(town, cut=False)
    healed = await day(town, cut=True, away_s=away_s)
    assert healed.keys() == twin.keys()
    for what, held in twin.items():
        assert healed[what] == held, what
