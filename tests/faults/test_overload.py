"""Ten times as much is asked of a node as it can do: it does what it can, refuses the rest, and is soon as before."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil
import pytest

from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF
from tests.support.client import PASSWORD, Client, path
from tests.support.flood import NUMBER, Flood, Plan, Report, Stream, request
from tests.support.process import NodeProcess

SETTINGS = LIMITS_OFF + "writes_max = 128\n" + CHEAP_PASSWORDS  # fewer, so that few connections are too many
PEOPLE, ROOMS = 30, 3
AT_ONCE = 64
TIMES = 10
GOODPUT_MIN = 0.5
SECONDS_MAX = 3.0
"""Within so many seconds whoever waits gets a message, who asks whether anybody is there an answer."""
BACK_S_MAX = 5.0
USUAL_S_MIN, USUAL_TIMES = 0.05, 3.0
GROWTH_BYTES, GROWTH_BYTES_PER_MESSAGE = 64 << 20, 8_192
PROBE_S = 0.25
TEXT = "number " + NUMBER


@dataclass
class Watch:
    """What somebody sees meanwhile who does not take part."""

    answers_s: list[float] = field(default_factory=list)
    deliveries_s: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)


@dataclass
class Town:
    """People, their rooms, and two who talk in a quiet one."""

    node: NodeProcess
    people: list[Client]
    rooms: list[str]
    alice: Client
    bob: Client
    quiet: str
    floods: int = 0

    @classmethod
    async def of(cls, node: NodeProcess) -> "Town":
        names = [(f"p{number}", ("cn", "eu", "ru")[number % 3]) for number in range(PEOPLE)]
        people = await asyncio.gather(*(node.register(*name) for name in names))
        rooms = await asyncio.gather(*(who.create_room(preset="public_chat") for who in people[:ROOMS]))
        await asyncio.gather(*(who.join(rooms[number % ROOMS]) for number, who in enumerate(people) if number >= ROOMS))
        alice, bob = await node.register("alice", "cn"), await node.register("bob", "ru")
        quiet = await alice.create_room(preset="public_chat")
        await bob.join(quiet)
        return cls(node, people, rooms, alice, bob, quiet)

    def sends(self, rate: float, connections: int) -> Stream:
        body = {"msgtype": "m.text", "body": TEXT}
        requests = [
            request("PUT", path("rooms", self.rooms[number % ROOMS], "send", "m.room.message", NUMBER), who.token, body)
            for number, who in enumerate(self.people)
        ]
        self.floods += 1
        return Stream("sends", rate, connections, requests, numbers_from=self.floods * 1_000_000, keep=True)

    def everything(self, rate: float) -> list[Stream]:
        """The expensive kinds, each of them far beyond what can be done, and one who asks for too much alone."""
        first = self.people[0]
        pages = path("rooms", self.rooms[0], "messages") + "?dir=b&limit=100"
        user = {"type": "m.id.user", "user": first.user_id}
        login = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
        greedy = path("rooms", self.rooms[0], "send", "m.room.message", "g" + NUMBER)
        return [
            Stream("syncs", rate, 150, [request("GET", "/sync", who.token) for who in self.people]),
            Stream("pages", rate, 150, [request("GET", pages, first.token)]),
            Stream("logins", rate, 150, [request("POST", "/login", "", login)]),
            Stream("greedy", rate * 2, 400, [request("PUT", greedy, first.token, {"body": TEXT, "msgtype": "m.text"})]),
        ]

    async def flood(self, seconds: float, *streams: Stream, watch: Watch | None = None) -> Report:
        since = (await self.alice.sync())["next_batch"]
        async with Flood.of(Plan("127.0.0.1", self.node.port, seconds, list(streams))) as flood:
            async with self.watching(watch or Watch(), since):
                await flood.over()
            return await flood.report()

    @asynccontextmanager
    async def watching(self, watch: Watch, since: str) -> AsyncIterator[None]:
        spoken: dict[str, float] = {}

        async def ask() -> None:
            while True:
                for place in ("/_matrix/client/versions", "/health/live", "/health/ready"):
                    began = time.perf_counter()
                    async with self.node.session.get(self.node.base_url + place) as answer:
                        assert answer.status == 200, (place, answer.status)
                    watch.answers_s.append(time.perf_counter() - began)
                watch.resident.append(psutil.Process(self.node.pid).memory_info().rss)
                await asyncio.sleep(PROBE_S)

        async def speak() -> None:
            """In the quiet room, until somebody lets him."""
            while True:
                target = path("rooms", self.quiet, "send", "m.room.message", self.bob.new_txn())
                began = time.perf_counter()
                answer = await self.bob.put(target, {"msgtype": "m.text", "body": "is anybody there?"})
                if answer.status == 200:
                    spoken[answer.body["event_id"]] = began
                await asyncio.sleep(PROBE_S)

        async def listen() -> None:
            nonlocal since
            while True:
                told = await self.alice.sync(since, 10_000)
                since = told["next_batch"]
                for room in told.get("rooms", {}).get("join", {}).values():
                    for event in room["timeline"]["events"]:
                        heard[event["event_id"]] = time.perf_counter()

        heard: dict[str, float] = {}
        tasks = [asyncio.create_task(work()) for work in (ask, speak, listen)]
        try:
            yield
            async with asyncio.timeout(SECONDS_MAX):
                while not spoken.keys() <= heard.keys():
                    await asyncio.sleep(PROBE_S)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in ended] == [asyncio.CancelledError] * 3, ended
        watch.deliveries_s += [heard[event_id] - began for event_id, began in spoken.items()]

    async def send_s(self) -> float:
        """How long a message takes; for ever, if it is refused."""
        began = time.perf_counter()
        target = path("rooms", self.quiet, "send", "m.room.message", self.bob.new_txn())
        answer = await self.bob.put(target, {"msgtype": "m.text", "body": "and now?"})
        return time.perf_counter() - began if answer.status == 200 else float("inf")

    async def usual_s(self) -> float:
        return sorted([await self.send_s() for _ in range(9)])[4]

    async def is_back(self, usual_s: float) -> None:
        """Wait until a message takes its usual time, and most of those after it."""
        async with asyncio.timeout(BACK_S_MAX):
            while await self.usual_s() > max(USUAL_S_MIN, usual_s * USUAL_TIMES):
                pass

    async def timeline(self) -> Counter[str]:
        """How often each event is in the timelines of the rooms, from their beginning."""
        found: Counter[str] = Counter()
        for who, room in zip(self.people, self.rooms, strict=False):
            found.update(event["event_id"] for event in await who.history(room, "f", page=1_000))
        return found


@pytest.mark.parametrize("seconds", [3.0, pytest.param(30.0, marks=pytest.mark.soak)])
async def test_ten_times_what_it_can_do(node_process: NodeProcess, seconds: float) -> None:
    assert node_process.config is not None
    node_process.config.write_text(SETTINGS)
    node_process.contract = None  # thousands of events are read afterwards; other tests look at their shape
    await node_process.start()
    town = await Town.of(node_process)
    usual_s = await town.usual_s()
    alone = (await town.flood(2.0, town.sends(1e5, AT_ONCE))).streams["sends"]
    assert alone.statuses.keys() == {200}
    capacity = alone.count(200) / 2.0
    before = psutil.Process(node_process.pid).memory_info().rss

    watch = Watch()
    load = (await town.flood(seconds, town.sends(TIMES * capacity, 1_000), watch=watch)).streams["sends"]
    mixed = (await town.flood(seconds, town.sends(TIMES * capacity, 500), *town.everything(1_000), watch=watch)).streams
    await town.is_back(usual_s)

    # It refuses, and says when to come back.
    everything = [load, *mixed.values()]
    assert load.count(503)
    assert all(told.count(503, 429) for told in mixed.values()), {name: told.statuses for name, told in mixed.items()}
    assert mixed["greedy"].count(429), "nobody is told that it is they who ask too much"
    assert [told.wrong_refusals for told in everything if told.wrong_refusals] == []
    assert {status for told in everything for status in told.statuses} == {200, 429, 503}
    # It does what it can.
    assert load.count(200) / seconds >= GOODPUT_MIN * capacity, (load.statuses, capacity)
    assert all(told.count(200) for told in mixed.values()), {name: told.statuses for name, told in mixed.items()}
    # Who waits, or asks whether anybody is there, is served throughout.
    assert max(watch.answers_s) < SECONDS_MAX
    assert len(watch.deliveries_s) >= seconds
    assert max(watch.deliveries_s) < SECONDS_MAX
    # Memory is for what was said, not for what was refused.
    served = sum(told.count(200) for told in everything)
    assert max(watch.resident) - before < GROWTH_BYTES + GROWTH_BYTES_PER_MESSAGE * served
    # What was acknowledged is there, once.
    acknowledged = [body.split(b'"')[3].decode() for told in (alone, load, mixed["sends"]) for body in told.bodies]
    assert len(set(acknowledged)) == len(acknowledged)
    found = await town.timeline()
    assert {found[event_id] for event_id in acknowledged} == {1}
