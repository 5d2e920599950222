"""Yesterday's backup comes back, and everybody still holds today's tokens."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, path, refused
from tests.support.process import NodeProcess, run

EVERYTHING = {"room": {"timeline": {"limit": 100}}}
ERASED_WITHIN_S = 20.0


async def hutong(node: NodeProcess, *arguments: str | Path) -> None:
    status, output = await run(node, *arguments)
    assert status == 0, output


def texts_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["content"]["body"] for event in events if "body" in event["content"]]


def ids_of(told: dict[str, Any]) -> set[str]:
    """Of everything that a sync tells of a room, as state or in the timeline."""
    return {event["event_id"] for part in ("state", "timeline") for event in told.get(part, {"events": []})["events"]}


class Today:
    """What a client holds when the database goes back to yesterday."""

    def __init__(self, person: Client, room: str, synced: dict[str, Any]) -> None:
        self.person, self.room = person, room
        self.since = synced["next_batch"]
        self.page = synced["rooms"]["join"][room]["timeline"]["prev_batch"]

    @classmethod
    async def of(cls, person: Client, room: str) -> "Today":
        return cls(person, room, await person.sync(filter={"room": {"timeline": {"limit": 2}}}))

    async def starts_afresh(self, said: list[str]) -> str:
        """The old token is answered with everything there is, as to somebody new. Returns the new token."""
        person, room = self.person, self.room
        body = await person.sync(self.since, filter=EVERYTHING)
        told = body["rooms"]["join"][room]
        fresh = (await person.sync(filter=EVERYTHING))["rooms"]["join"][room]
        assert texts_of(told["timeline"]["events"]) == texts_of(fresh["timeline"]["events"])
        assert ids_of(told) == ids_of(fresh)
        assert await person.texts(room) == said
        return str(body["next_batch"])

    async def page_leads_nowhere_false(self, said: list[str]) -> None:
        """A token for a page of the room as it was: another's error, or this room's events, never a gap in them."""
        answer = await self.person.get(path("rooms", self.room, "messages"), dir="b", limit=100, **{"from": self.page})
        if answer.status != 200:
            assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), answer
        else:
            assert texts_of(answer.body["chunk"]) == said[::-1]


@pytest.mark.parametrize("erasing", [False, True], ids=["nobody was erased", "somebody was erased in between"])
async def test_yesterdays_backup_with_todays_tokens(node_process: NodeProcess, tmp_path: Path, erasing: bool) -> None:
    node = await node_process.start()
    anna, other, olga = [
        await node.register(name, region) for name, region in (("anna", "cn"), ("gone", "cn"), ("olga", "ru"))
    ]
    room = await anna.create_room(preset="public_chat")
    for person in (other, olga):
        await person.join(room)
    content = {"msgtype": "m.text", "body": "anna yesterday"}
    yesterday = await anna.send_event(room, "m.room.message", content, "txn")
    for person in (other, olga):
        await person.sees(room, await person.send(room, f"{person.name} yesterday"))
    await hutong(node, "region", "backup", "cn", tmp_path / "yesterday.hutong")

    lost = await anna.send_event(room, "m.room.message", content | {"body": "anna today"}, "txn today")
    await olga.sees(room, lost)
    here, abroad = await Today.of(anna, room), await Today.of(olga, room)
    if erasing:
        await other.deactivate(erase=True)
        async with asyncio.timeout(ERASED_WITHIN_S):
            while (await olga.members(room)).get(other.user_id) is not None:
                await asyncio.sleep(0.1)
    assert await node.terminate() == 0
    await hutong(node, "region", "restore", "cn", tmp_path / "yesterday.hutong", "--yes")
    await node.start()

    # Nothing that was acknowledged before the backup is lost; nobody misses anything without being told so.
    said = ["anna yesterday", *([] if erasing else ["gone yesterday"]), "olga yesterday"]
    since = await here.starts_afresh(said)
    await here.page_leads_nowhere_false(said)
    assert await anna.send_event(room, "m.room.message", content, "txn") == yesterday, "it is known as sent"
    again = await anna.send_event(room, "m.room.message", content | {"body": "anna again"}, "txn today")
    assert again != lost
    body = await anna.sync(since, timeout=1_000)
    assert [event["event_id"] for event in body["rooms"]["join"][room]["timeline"]["events"]] == [again]

    # The other region's database is today's: its clients go on where they were, and so does its copy of the room.
    assert (await olga.sees(room, again))["content"]["body"] == "anna again"
    body = await olga.sync(abroad.since, timeout=1_000)
    assert again in [event["event_id"] for event in body["rooms"]["join"][room]["timeline"]["events"]]
    from_abroad = await olga.send(room, "and olga answers")
    assert (await anna.sees(room, from_abroad))["content"]["body"] == "and olga answers"
    if erasing:
        with refused("M_UNKNOWN_TOKEN"):
            await other.joined_rooms()
        for person in (anna, olga):
            assert "gone yesterday" not in str(await person.history(room))
            assert other.user_id not in str(await person.all_state(room))
