"""Tokens that say nothing here: of another room, another region, another generation, malformed, ahead of everything.

A `since` from another life of the database begins anew; everything else is refused by the name of its parameter, and
nothing is written.
"""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support import matrix
from tests.support.client import Answer, Client, Json
from tests.support.openapi import VARIABLE, Contract

if TYPE_CHECKING:
    from hutong.node import Node

AHEAD = 1_000_000
MALFORMED = (
    *("nonsense", "h1", "h1.", "h1.1.2.3", "h1.1.-1.0.0", "h1.1.99999999999999999999.1.1", "h1." + "1" * 4_000),
    *("h1.١.٢.٣.٤", "r1.1.aa.1", "r1", "t47429-4392820_219380_26003_2265", "\u0000", "%", " "),
)
V1, V3 = "/_matrix/client/v1", "/_matrix/client/v3"
RELATIONS = f"{V1}/rooms/{{roomId}}/relations/{{eventId}}"
LISTS = {(f"{V3}/publicRooms", "since"), (f"{V1}/rooms/{{}}/hierarchy", "from")}
"""Pages of lists that are no timeline: they have tokens of their own, and tests of their own."""


@dataclass(frozen=True)
class Taker:
    """A parameter that takes a token. `of_a_room`: also one of the room in the path."""

    path: str
    name: str
    dir: str = ""
    of_a_room: bool = True

    async def asked(self, person: Client, room: str, token: str, **more: str) -> Answer:
        query = {**({"dir": self.dir} if self.dir else {}), **more, self.name: token}
        path = self.path.replace("{roomId}", quote(room, safe=""))
        if "{eventId}" in path:
            path = path.replace("{eventId}", quote(await person.send(room, "related to"), safe=""))
        return await person.get(path.replace("{relType}", "m.thread").replace("{eventType}", "m.room.message"), **query)


TAKERS = [
    Taker(f"{V3}/sync", "since", of_a_room=False),
    Taker(f"{V3}/rooms/{{roomId}}/messages", "from", "b"),
    Taker(f"{V3}/rooms/{{roomId}}/messages", "to", "f"),
    Taker(f"{V3}/rooms/{{roomId}}/members", "at"),
    Taker(f"{V3}/keys/changes", "from", of_a_room=False),
    Taker(f"{V3}/keys/changes", "to", of_a_room=False),
    Taker(RELATIONS, "from"),
    Taker(RELATIONS, "to"),
    Taker(f"{RELATIONS}/{{relType}}", "from"),
    Taker(f"{RELATIONS}/{{relType}}", "to"),
    Taker(f"{RELATIONS}/{{relType}}/{{eventType}}", "from"),
    Taker(f"{RELATIONS}/{{relType}}/{{eventType}}", "to"),
    Taker(f"{V1}/rooms/{{roomId}}/threads", "from"),
]


@pytest.fixture(params=TAKERS, ids=lambda taker: f"{taker.name} of {taker.path.removeprefix('/_matrix/client')}")
def taker(request: pytest.FixtureRequest) -> Taker:
    found: Taker = request.param
    if ("GET", matrix.nameless(found.path)) not in {route.key for route in matrix.routes()}:
        pytest.skip("is not served")
    return found


async def mine(person: Client) -> str:
    return str((await person.sync())["next_batch"])


async def of_room(person: Client, room: str) -> str:
    return str((await person.messages(room, limit=1))["end"])


def changed(token: str, part: int, value: str) -> str:
    parts = token.split(".")
    parts[part] = value
    return ".".join(parts)


async def refused(person: Client, room: str, taker: Taker, token: str) -> None:
    """Asked with `token`, the answer names the parameter. What else must be there is as it should be."""
    own = await mine(person)
    other = {"from": "to", "to": "from"}.get(taker.name, "")
    more = {other: own} if "keys/changes" in taker.path else {}
    answer = await taker.asked(person, room, token, **more)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), (token[:80], answer)
    assert answer.error.startswith(f"{taker.name}: "), answer


async def test_what_no_server_of_ours_gave_out_is_refused_by_its_name(alice: Client, room: str, taker: Taker) -> None:
    own = await mine(alice)
    ahead = changed(own, 2, str(int(own.split(".")[2]) + AHEAD))
    for token in (*MALFORMED, ahead, *(() if taker.of_a_room else [await of_room(alice, room)])):
        await refused(alice, room, taker, token)


async def test_a_token_of_another_room_is_refused_by_its_name(alice: Client, room: str, taker: Taker) -> None:
    other = await alice.create_room()
    for text in ("here", "there"):
        await alice.send(room, text)
        await alice.send(other, text)
    if taker.of_a_room:
        assert (await taker.asked(alice, room, await of_room(alice, room))).status == 200
    await refused(alice, room, taker, await of_room(alice, other))


async def test_a_token_of_another_region_or_generation_is_refused_by_its_name(
    alice: Client, bob: Client, room: str, taker: Taker
) -> None:
    if taker.name == "since":
        return  # begins anew: below
    own, theirs = await mine(alice), await mine(bob)
    foreign = [theirs, changed(own, 1, "abc")]
    if taker.of_a_room:
        foreign += [await of_room(bob, room), changed(await of_room(alice, room), 1, "abc")]
    for token in foreign:
        await refused(alice, room, taker, token)


async def test_a_since_of_another_region_or_generation_is_an_initial_sync(
    alice: Client, bob: Client, room: str
) -> None:
    sent = [await alice.send(room, text) for text in ("first", "second")]
    own, theirs = await mine(alice), await mine(bob)
    anew = await alice.sync()
    for since in (theirs, changed(own, 1, "abc"), changed(own, 1, "0")):
        got = await alice.sync(since)
        assert ageless(got["rooms"]) == ageless(anew["rooms"]), since
        assert got["account_data"] == anew["account_data"]
        told = [event["event_id"] for event in got["rooms"]["join"][room]["timeline"]["events"]]
        assert told[-2:] == sent
        assert "rooms" not in await alice.sync(got["next_batch"])  # and goes on from there


def ageless(rooms: Json) -> Json:
    return dict(json.loads(re.sub(r'"age": \d+', '"age": 0', json.dumps(rooms))))


async def test_nothing_is_written_by_asking_with_a_wrong_token(
    node: "Node", alice: Client, bob: Client, room: str
) -> None:
    last = await alice.send(room, "the last")
    await alice.sees(room, last)
    await bob.sees(room, last)  # so every cell of the room has it
    before = {number: cell.tail.head for number, cell in node.cells.items()}
    for taker in TAKERS:
        if "{eventId}" not in taker.path:  # there, what is asked about is written first
            for token in MALFORMED:
                await taker.asked(alice, room, token)
    assert {number: cell.tail.head for number, cell in node.cells.items()} == before


def test_every_parameter_that_takes_a_token_is_tried(contract: Contract | None) -> None:
    if contract is None:
        pytest.skip(f"NOT compared: no Matrix specification beside the repository; {VARIABLE} may name it")
    served = {route.key for route in matrix.routes()}
    wanted = {
        (matrix.nameless(operation.template), parameter["name"])
        for operation in contract.operations
        if matrix.key_of(operation) in served
        for parameter in contract.described(operation)["parameters"]
        if parameter["in"] == "query" and parameter["name"] in ("from", "to", "since", "at")
    }
    assert wanted - LISTS <= {(matrix.nameless(taker.path), taker.name) for taker in TAKERS}
