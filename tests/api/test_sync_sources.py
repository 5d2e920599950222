"""The tail and the tables must tell a client the same, for any token and filter; and the tail without a query."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from hutong.http.request import Caller
from hutong.ids import CellNo
from hutong.node import Node, Slices
from hutong.sync.filters import parse
from hutong.sync.model import Ask
from hutong.sync.service import Sync
from hutong.sync.session import Sessions
from tests.conftest import DEMO
from tests.support.client import Client, Json

Newcomer = Callable[..., Awaitable[Client]]
FILTERS = [
    {},
    {"room": {"timeline": {"limit": 3}}},
    {"room": {"timeline": {"limit": 4, "types": ["m.room.message", "m.room.topic"]}}},
    {"room": {"timeline": {"limit": 2, "not_types": ["m.room.member"]}, "state": {"types": ["m.room.*"]}}},
    {"room": {"timeline": {"limit": 50}, "ephemeral": {"types": []}}},
    {"room": {"timeline": {"limit": 2}, "state": {"lazy_load_members": True, "include_redundant_members": True}}},
]


async def caller_of(node: Node, client: Client) -> tuple[Slices, Caller]:
    slices = node.slices[CellNo(client.cell)]
    return slices, await slices.accounts.sessions.resolve(client.token)


def late_comer(slices: Slices) -> Sync:
    """The same cell as somebody finds it whose session is new: only the tables know what was before."""
    sync = slices.sync
    sessions = Sessions(sync.tail, sync.reads, slices.cell.directory.server_name)
    return replace(sync, sessions=sessions)


def plain(body: bytes) -> Json:
    """An answer without what depends on the moment, and with lists that have no order sorted."""
    found: Json = json.loads(body)
    for sections in found.get("rooms", {}).values():
        for told in sections.values():
            for part in ("timeline", "state", "state_after"):
                events = told.get(part, {}).get("events", [])
                for event in events:
                    event["unsigned"].pop("age")
                if part != "timeline":
                    events.sort(key=lambda event: str(event["event_id"]))
    found.get("rooms", {}).pop("invite", None)
    return found


def differences(left: Any, right: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, as paths."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            yield from differences(left.get(key), right.get(key), f"{at}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for n, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{at}[{n}]")
    elif left != right:
        yield at, left, right


async def some_life(
    people: list[Client], room: str, seed: int, steps: int, note: Callable[[], Awaitable[None]]
) -> None:
    """People talk, read, come and go."""
    dice = random.Random(seed)
    inside = set(range(len(people)))
    sent: list[str] = []
    for step in range(steps):
        who = dice.choice(sorted(inside))
        person = people[who]
        match dice.choice(["say"] * 6 + ["topic", "name", "redact", "read", "private", "move", "note", "note"]):
            case "say":
                sent.append(await person.send(room, f"step {step}"))
            case "topic":
                await people[0].set_state(room, "m.room.topic", {"topic": f"step {step}"})
            case "name":
                await people[0].set_state(room, "m.room.name", {"name": f"step {step}"})
            case "redact" if sent:
                await people[0].redact(room, dice.choice(sent))
            case "read" if sent:
                await person.post(f"/rooms/{room}/receipt/m.read/{sent[-1]}")
            case "private" if sent:
                await person.post(f"/rooms/{room}/receipt/m.read.private/{sent[-1]}")
            case "move" if who:
                await person.leave(room)
                if dice.random() < 0.7:
                    await person.join(room)
                else:
                    inside.discard(who)
            case _:
                await note()
    for who in range(len(people)):
        if who not in inside:
            await people[who].join(room)


@pytest.mark.parametrize(
    ("seed", "region", "leaves"), [(22, "cn", False), (2, "cn", True), (3, "ru", False), (25, "ru", True)]
)
async def test_tail_and_tables_tell_the_same(
    node: Node, newcomer: Newcomer, seed: int, region: str, *, leaves: bool
) -> None:
    people = [await newcomer("alice", "cn"), await newcomer("bob", region), await newcomer("carol", region)]
    room = await people[0].create_room(preset="public_chat")
    for person in people[1:]:
        await person.join(room)
    reader = people[1]
    slices, who = await caller_of(node, reader)
    await reader.sync()  # its session begins here, and the tail tells everything from here on
    tokens: list[str] = []

    async def note() -> None:
        tokens.append((await reader.sync())["next_batch"])

    await note()
    await some_life(people, room, seed, 50, note)
    await reader.sees(room, await people[0].send(room, "the end"))  # every copy has everything
    if leaves:
        await reader.leave(room)
    late = late_comer(slices)
    for since in tokens:
        for filter in FILTERS:
            for state_after in (False, True):
                ask = Ask(since=since, filter=parse(json.dumps(filter)), state_after=state_after)
                by_tail = plain(await slices.sync.answer(who.account, who.device, ask))
                by_tables = plain(await late.answer(who.account, who.device, ask))
                late.sessions.end(who.account)
                said = f"seed {seed}, since {since}, filter {filter}, state_after {state_after}"
                assert list(differences(by_tail, by_tables)) == [], said


@pytest.mark.parametrize("seed", [11, 12])
async def test_a_timeline_and_the_pages_before_it_are_the_room(newcomer: Newcomer, seed: int) -> None:
    people = [await newcomer(name, region) for name, region in (("alice", "cn"), ("bob", "cn"), ("carol", "eu"))]
    room = await people[0].create_room(preset="public_chat")
    for person in people[1:]:
        await person.join(room)
    reader = people[0]
    tokens: list[str] = []

    async def note() -> None:
        tokens.append((await reader.sync())["next_batch"])

    await note()
    await some_life(people, room, seed, 40, note)
    whole = [event["event_id"] for event in await reader.history(room, "f", page=100)]
    assert len(whole) == len(set(whole))
    for since in [None, *tokens]:
        body = await reader.sync(since, filter={"room": {"timeline": {"limit": 3}}})
        told = body.get("rooms", {}).get("join", {}).get(room)
        if told is None or not told["timeline"]["events"]:
            continue
        shown = [event["event_id"] for event in told["timeline"]["events"]]
        at = whole.index(shown[0])
        assert whole[at : at + len(shown)] == shown
        assert at + len(shown) == len(whole), "the answer reaches the end of the room"
        page = await reader.messages(room, "b", limit=5, **{"from": told["timeline"]["prev_batch"]})
        before = [event["event_id"] for event in reversed(page["chunk"])]
        assert before == whole[max(at - 5, 0) : at]


async def test_a_poll_ends_when_its_client_hangs_up(node: Node, alice: Client) -> None:
    slices, who = await caller_of(node, alice)
    since = (await alice.sync())["next_batch"]
    session = slices.sync.sessions.open(who.account, who.device)
    waiting = asyncio.create_task(alice.sync(since, timeout=60_000))
    async with asyncio.timeout(10):
        while session.polls < 2:
            await asyncio.sleep(0.01)
        waiting.cancel()
        while session.polls > 1:
            await asyncio.sleep(0.01)
    slices.sync.sessions.close(session)


async def test_a_message_by_the_tail_costs_no_statement(node: Node, alice: Client, newcomer: Newcomer) -> None:
    dave = await newcomer("dave", "cn")
    room = await alice.create_room(preset="public_chat")
    await dave.join(room)
    slices, who = await caller_of(node, dave)
    ask = Ask(since=None, filter=parse("{}"))
    answer = json.loads(await slices.sync.answer(who.account, who.device, ask))
    await alice.send(room, "warm up: names and counts")
    ask = Ask(since=answer["next_batch"], filter=parse("{}"), timeout_ms=5_000)
    answer = json.loads(await slices.sync.answer(who.account, who.device, ask))
    await alice.send(room, "the message")
    before = slices.sync.reads.statements
    ask = Ask(since=answer["next_batch"], filter=parse("{}"), timeout_ms=5_000)
    body = await slices.sync.answer(who.account, who.device, ask)
    assert b"the message" in body
    assert slices.sync.reads.statements == before


@pytest.mark.parametrize("place", [DEMO], indirect=True)  # readers of one cell
async def test_a_move_is_read_once_for_all_who_wait(node: Node, alice: Client, newcomer: Newcomer) -> None:
    room = await alice.create_room(preset="public_chat")
    slices, _ = await caller_of(node, alice)
    callers = []
    for _ in range(4):
        reader = await newcomer("dave", "cn")
        await reader.join(room)
        callers.append((await caller_of(node, reader))[1])
        await reader.sync()
    ask = Ask(since=(await alice.sync())["next_batch"], filter=parse("{}"), timeout_ms=10_000)
    before = slices.sync.reads.statements
    waiting = [asyncio.create_task(slices.sync.answer(who.account, who.device, ask)) for who in callers]
    sessions = slices.sync.sessions._sessions
    while not all(sessions[who.account, who.device].polls for who in callers):
        await asyncio.sleep(0)
    await alice.set_state(room, "m.room.member", {"membership": "join", "displayname": "A"}, alice.user_id)
    for body in map(json.loads, await asyncio.gather(*waiting)):
        there = body["rooms"]["join"][room]
        assert there["summary"]["m.joined_member_count"] == 5
        assert "prev_content" in there["timeline"]["events"][0]["unsigned"]
    assert slices.sync.reads.statements - before == 3  # the summary is two, what was replaced is one


async def test_a_first_sync_costs_the_same_for_one_room_and_for_many(node: Node, alice: Client) -> None:
    slices, who = await caller_of(node, alice)

    async def statements() -> int:
        late = late_comer(slices)
        before = late.reads.statements
        await late.answer(who.account, who.device, Ask(since=None, filter=parse("{}")))
        late.sessions.end(who.account)
        return late.reads.statements - before

    first = await alice.create_room()
    await alice.send(first, "hello")
    one = await statements()
    for _ in range(6):
        await alice.send(await alice.create_room(), "hello")
    assert await statements() == one
    assert one <= 10


async def test_who_waits_is_woken_by_their_rooms_only(node: Node, alice: Client, newcomer: Newcomer) -> None:
    dave = await newcomer("dave", "cn")
    await dave.create_room()
    other = await alice.create_room()
    slices, who = await caller_of(node, dave)
    answer = json.loads(await slices.sync.answer(who.account, who.device, Ask(since=None, filter=parse("{}"))))
    session = slices.sync.sessions.open(who.account, who.device)
    woken: list[Any] = []
    slices.cell.tail.subscribe(woken.append, session.watched)
    since = session.last_pos
    for number in range(5):
        await alice.send(other, f"not for dave {number}")
    assert session.last_pos == since
    assert woken == []
    slices.sync.sessions.close(session)
    assert answer["next_batch"]


@pytest.mark.parametrize("ended", [False, True], ids=["as its time is up", "of a session that ends"])
async def test_what_comes_while_an_empty_answer_is_made_is_told_by_the_next(
    node: Node, alice: Client, room: str, ended: bool
) -> None:
    slices, who = await caller_of(node, alice)
    since = await alice.sync((await alice.sync())["next_batch"])

    async def keys(*of: Any) -> bytes:
        await alice.send(room, "meanwhile")
        return await slices.sync.keys(*of)

    sync = replace(slices.sync, keys=keys)
    ask = Ask(since=since["next_batch"], filter=parse("{}"), timeout_ms=20_000 if ended else 0)
    answer = asyncio.create_task(sync.answer(who.account, who.device, ask))
    if ended:
        session = sync.sessions.open(who.account, who.device)
        sync.sessions.close(session)
        while not session._waiting:
            await asyncio.sleep(0)
        sync.sessions.end(who.account, who.device)
    body = json.loads(await answer)
    assert "rooms" not in body
    told = (await alice.sync(body["next_batch"]))["rooms"]["join"][room]["timeline"]["events"]
    assert [event["content"]["body"] for event in told] == ["meanwhile"]


async def test_a_session_that_has_ended_is_no_news_of_what_came_since(node: Node, alice: Client, room: str) -> None:
    slices, who = await caller_of(node, alice)
    sessions = late_comer(slices).sessions
    session = sessions.open(who.account, who.device)
    before = await sessions.refresh(session)
    sessions.end(who.account, who.device)
    await alice.send(room, "meanwhile")
    assert await sessions.refresh(session) == before < slices.cell.tail.head
