"""Many write while many wait: every reader gets every event once, in the room's order, in every region."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.support.client import Client, Json

Newcomer = Callable[..., Awaitable[Client]]
FILTER = {"room": {"timeline": {"limit": 4}}}
LAST_WORD = "that was all"
NAMES = ("alice", "dave", "bob", "carol")


async def follow(reader: Client, room: str, since: str, dice: random.Random) -> list[str]:
    """Poll until the last word, filling every gap through /messages. The ids in the order in which they came.

    Now and then an answer is lost, and the reader asks again with its old token.
    """
    seen: list[str] = []
    while True:
        body = await reader.sync(since, timeout=5_000, filter=FILTER)
        if dice.random() < 0.2:
            continue
        timeline: Json = body.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {"events": []})
        events = timeline["events"]
        if events and timeline["limited"]:
            page = await reader.messages(room, "b", limit=100, **{"from": timeline["prev_batch"], "to": since})
            seen += [event["event_id"] for event in reversed(page["chunk"])]
        seen += [event["event_id"] for event in events]
        if any(event["content"].get("body") == LAST_WORD for event in events):
            return seen
        since = body["next_batch"]


async def chat(writer: Client, room: str, count: int, dice: random.Random) -> None:
    sent: list[str] = []
    for number in range(count):
        if sent and dice.random() < 0.15:
            await writer.redact(room, dice.choice(sent))
        elif dice.random() < 0.1:
            await writer.post(f"/rooms/{room}/receipt/m.read/{sent[-1]}" if sent else f"/rooms/{room}/read_markers")
        else:
            sent.append(await writer.send(room, f"{writer.name} {number}"))


@pytest.mark.parametrize("seed", [5, 6])
async def test_every_reader_gets_every_event_once_and_in_order(newcomer: Newcomer, seed: int) -> None:
    regions = ("cn", "cn", "eu", "ru")
    people = [await newcomer(name, region) for name, region in zip(NAMES, regions, strict=True)]
    room = await people[0].create_room(preset="public_chat")
    for person in people[1:]:
        await person.join(room)
        await person.sees(room, await people[0].send(room, "welcome"))
    readers = [await person.another_device() for person in people]
    tokens = []
    for reader in readers:
        await reader.poll()
        tokens.append(str(reader.since))
    first = await people[0].send(room, "now")
    following = [
        asyncio.create_task(follow(reader, room, token, random.Random(f"{seed} {reader.name}")))
        for reader, token in zip(readers, tokens, strict=True)
    ]
    await asyncio.gather(*(chat(person, room, 12, random.Random(f"{seed} {person.name} w")) for person in people))
    await people[0].send(room, LAST_WORD)
    async with asyncio.timeout(30):
        told = await asyncio.gather(*following)
    whole = [event["event_id"] for event in await people[0].history(room, "f", page=100)]
    due = whole[whole.index(first) :]
    for reader, seen in zip(readers, told, strict=True):
        assert seen[seen.index(first) :] == due, f"seed {seed}: {reader.name} of {reader.region}"
        assert len(seen) == len(set(seen))
