"""Requests of absurd size or meaning: an error that names the field, nothing written, and no more work than is due."""

import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hutong.ids import CellNo
from tests.conftest import Newcomer
from tests.support.client import Answer, Client, Json, path

if TYPE_CHECKING:
    from hutong.node import Node

LEVEL = "m.room.power_levels"
WORK_S = 2.0


async def rows(node: "Node") -> dict[str, int]:
    """How much every table of every cell holds; receipts and the like stand still while nobody acts."""
    counts: Counter[str] = Counter()
    for number, cell in node.cells.items():
        for table in ("rooms", "events", "members", "state", "content", "log", "out", "txns", "highlights"):
            counts[f"{number}.{table}"] = await cell.pool.fetchval(f"SELECT count(*) FROM {table}")
    return dict(counts)


def expect(answer: Answer, errcode: str, field: str) -> None:
    assert 400 <= answer.status < 500, answer
    assert (answer.errcode, field in answer.error) == (errcode, True), answer


def raw_levels(body: bytes) -> dict[str, Any]:
    return {"raw": body}


BOB = "@bob:eu.localhost"
HUGE = 10**25
ENTRIES = {f"org.example.t{number}": 1 for number in range(100_000)}
LEVELS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a fraction": (raw_levels(b'{"ban": 50.5}'), "M_BAD_JSON", "ban"),
    "an exponent": (raw_levels(b'{"users": {"@a:b": 1e2}}'), "M_BAD_JSON", "users.@a:b"),
    "a string": ({"body": {"kick": "50"}}, "M_BAD_JSON", "kick"),
    "a string for somebody": ({"body": {"users": {BOB: "100"}}}, "M_BAD_JSON", f"users.{BOB}"),
    "true": ({"body": {"events": {"m.room.name": True}}}, "M_BAD_JSON", "events.m.room.name"),
    "null": ({"body": {"invite": None}}, "M_BAD_JSON", "invite"),
    "2^53": ({"body": {"redact": 2**53}}, "M_BAD_JSON", "redact"),
    "25 digits below zero": ({"body": {"users": {BOB: -HUGE}}}, "M_BAD_JSON", f"users.{BOB}"),
    "25 digits in notifications": ({"body": {"notifications": {"room": HUGE}}}, "M_BAD_JSON", "notifications.room"),
    "a list of levels": ({"body": {"events": {"m.room.name": [50]}}}, "M_BAD_JSON", "events.m.room.name"),
    "nobody's id": ({"body": {"users": {"bob": 50}}}, "M_BAD_JSON", "users.bob"),
    "one person twice": (raw_levels(b'{"users": {"@a:b": 1, "@a:b": 100}}'), "M_BAD_JSON", "@a:b"),
    "one level twice": (raw_levels(b'{"ban": 0, "ban": 50}'), "M_BAD_JSON", "ban"),
    "100,000 entries": ({"raw": io.BytesIO(json.dumps({"events": ENTRIES}).encode())}, "M_TOO_LARGE", "body"),
    "100,000 levels in a list": ({"body": {"users": [50] * 100_000}}, "M_TOO_LARGE", "body"),
    "a state key of a megabyte": ({"key": "k" * 1_000_000, "body": {}}, "M_TOO_LARGE", "request line"),
    "a key of 300 bytes": ({"key": "k" * 300, "body": {}}, "M_INVALID_PARAM", "stateKey"),
    "another state key": ({"key": "k", "body": {"ban": 0}}, "M_INVALID_PARAM", "stateKey"),
}  # fmt: skip


@pytest.mark.parametrize("what", LEVELS)
async def test_absurd_power_levels(node: "Node", alice: Client, room: str, what: str) -> None:
    sent, errcode, field = LEVELS[what]
    target = path("rooms", room, "state", LEVEL, *([sent["key"]] if "key" in sent else []))
    before = await rows(node)
    started = time.monotonic()
    answer = await alice.request("PUT", target, sent.get("body"), raw=sent.get("raw"))
    assert time.monotonic() - started < WORK_S
    expect(answer, errcode, field)
    assert await rows(node) == before


THOUSANDS = [f"@n{number}:ru.localhost" for number in range(5_000)]
CREATIONS: dict[str, tuple[Json, str, str]] = {
    "5,000 invitations": ({"invite": THOUSANDS}, "M_INVALID_PARAM", "invite"),
    "an invitation of nobody": ({"invite": ["@nobody-at-all:ru.localhost"]}, "M_INVALID_PARAM", "invite[0]"),
    "5,000 creators": ({"creation_content": {"additional_creators": THOUSANDS}}, "M_TOO_LARGE", "m.room.create"),
    "5,000 levels": (
        {"power_level_content_override": {"users": dict.fromkeys(THOUSANDS, 1)}}, "M_TOO_LARGE", LEVEL,
    ),
    "a string as a level": ({"power_level_content_override": {"ban": "50"}}, "M_BAD_JSON", "ban"),
    "a creator who is no user id": (
        {"creation_content": {"additional_creators": ["bob"]}}, "M_BAD_JSON", "additional_creators[0]",
    ),
    "5,000 pieces of state": (
        {"initial_state": [{"type": "m.room.name", "content": {"name": "x"}}] * 5_000}, "M_INVALID_PARAM",
        "initial_state",
    ),
    "a state key of 300,000 bytes": (
        {"initial_state": [{"type": "m.room.name", "state_key": "k" * 300_000, "content": {}}]}, "M_INVALID_PARAM",
        "stateKey",
    ),
    "5,000 people by mail": (
        {"invite_3pid": [{"id_server": "x.y", "id_access_token": "t", "medium": "email", "address": "a@b"}] * 5_000},
        "M_THREEPID_DENIED", "invite_3pid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CREATIONS)
async def test_absurd_rooms_are_not_made(node: "Node", alice: Client, what: str) -> None:
    body, errcode, field = CREATIONS[what]
    before = await rows(node)
    started = time.monotonic()
    answer = await alice.post("/createRoom", body)
    assert time.monotonic() - started < WORK_S
    expect(answer, errcode, field)
    if what != "an invitation of nobody":  # whose name is looked up in a room that is about to be
        assert await rows(node) == before
    assert await alice.joined_rooms() == []


async def test_who_has_no_power_names_thousands_in_vain(node: "Node", bob: Client, alice: Client, room: str) -> None:
    """Refused before anybody they name is looked up."""
    before = await rows(node)
    with crossing(node) as crossed:
        answer = await bob.put(path("rooms", room, "state", LEVEL), {"users": {**levels(1_000), alice.user_id: 0}})
    expect(answer, "M_FORBIDDEN", "power level")
    assert crossed["refs"] == 0
    after = await rows(node)
    # Bob's own home held his words while it asked; what remains is that this event never comes to be.
    assert {table: count for table, count in after.items() if count != before[table]} == {}


def levels(count: int) -> dict[str, int]:
    return {f"@somebody-{number}:ru.localhost": 1 for number in range(count)}


@contextmanager
def crossing(node: "Node") -> Iterator[Counter[str]]:
    """What kinds of call cross between cells, both ways counted once."""
    crossed: Counter[str] = Counter()

    def record(src: CellNo, dest: CellNo, flow: str, raw: bytes) -> None:
        crossed[flow] += 1

    links = node.link
    links.recorder = record
    try:
        yield crossed
    finally:
        links.recorder = None


async def test_power_levels_that_name_many_ask_every_region_once(
    newcomer: Newcomer, node: "Node", alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    """1,500 people of two other regions, and some of one's own: one question to each region, whoever is real."""
    anna = await newcomer("anna", "cn")
    held = await alice.get_state(lane, LEVEL)
    named = {**levels(1_500), bob.user_id: 40, carol.user_id: 30, anna.user_id: 20}
    started = time.monotonic()
    with crossing(node) as crossed:
        told = await alice.set_state(lane, LEVEL, {**held, "users": named})
    assert time.monotonic() - started < WORK_S
    assert crossed["refs"] == 2 * (len(node.cells) - 1), "a question and an answer for every other cell"
    await bob.sees(lane, told)
    assert (await bob.get_state(lane, LEVEL))["users"] == named
    assert await anna.join(lane) == lane


async def test_an_invitation_by_mail_is_refused_wherever_it_is_made(
    node: "Node", alice: Client, bob: Client, carol: Client, room: str
) -> None:
    before = await rows(node)
    mail = {"id_server": "id.example", "id_access_token": "t", "medium": "email", "address": "carol@example.org"}
    expect(await alice.post(path("rooms", room, "invite"), mail), "M_THREEPID_DENIED", "id_server")
    signed = {"mxid": carol.user_id, "token": "abc", "signatures": {"id.example": {"ed25519:0": "AAAA"}}}
    target = path("rooms", room, "state", "m.room.member", carol.user_id)
    for invite, errcode, field in (
        ({"signed": signed}, "M_FORBIDDEN", "third_party_invite.signed.token"),
        ({"signed": {**signed, "mxid": 5}}, "M_BAD_JSON", "third_party_invite.signed.mxid"),
        ({"signed": {"mxid": carol.user_id}}, "M_BAD_JSON", "third_party_invite.signed.token"),
        ({}, "M_BAD_JSON", "third_party_invite.signed"),
        ("abc", "M_BAD_JSON", "third_party_invite.signed"),
    ):
        answer = await alice.put(target, {"membership": "invite", "third_party_invite": invite})
        expect(answer, errcode, field)
    after = await rows(node)
    after[f"{768}.members"] = before[f"{768}.members"]  # carol was given a ref in the room, which is all
    assert after == before
    assert carol.user_id not in await alice.members(room)
