"""Pages while a region is slow or cut off: they end before what is slow, and leave out only what is cut off."""

import asyncio
from typing import TYPE_CHECKING

from tests.api.test_aggregations import react, reply
from tests.api.test_context import context
from tests.api.test_relations import children, ids, roots, threads
from tests.faults.test_cuts import bodies, talk
from tests.support.client import Client, refused
from tests.support.ways import CN, EU, RU, Ways, forget_words

if TYPE_CHECKING:
    from hutong.node import Node

SLOW_S = 1.3
"""Longer than words are waited for, shorter than it takes to be called cut off."""


async def three_children(alice: Client, bob: Client, room: str) -> tuple[str, list[str]]:
    """An event of cn, and what relates to it from cn, eu and cn."""
    said = await alice.send(room, "tea?")
    await bob.sees(room, said)
    related: list[str] = []
    for person in (alice, bob, alice):
        related.append(await react(person, room, said, f"{len(related)}"))
        await alice.sees(room, related[-1])
    return said, related


async def three_threads(alice: Client, bob: Client, room: str) -> list[str]:
    """Threads that somebody of cn, of eu and of cn has begun, and alice went on with."""
    begun = await talk(room, (alice, "1 cn"), (bob, "2 eu"), (alice, "3 cn"), listeners=(alice, bob))
    for root in begun:
        await reply(alice, room, root)
    return begun


async def test_what_relates_to_an_event_ends_before_what_is_slow(
    alice: Client, bob: Client, room: str, node: "Node", ways: Ways
) -> None:
    said, (first, slow, last) = await three_children(alice, bob, room)
    ways.one(CN, EU, delay_s=SLOW_S)
    forget_words(node, "cn")
    younger, older = await asyncio.gather(
        children(alice, room, said, limit=2), children(alice, room, said, limit=2, dir="f")
    )
    assert [event["event_id"] for event in younger["chunk"]] == [last]
    assert [event["event_id"] for event in older["chunk"]] == [first]
    with refused("M_UNKNOWN", "region eu", status=503):
        await children(alice, room, said, **{"from": younger["next_batch"]})
    ways.heal()
    assert await ids(alice, room, said, **{"from": younger["next_batch"]}) == [slow, first]
    assert await ids(alice, room, said, dir="f", **{"from": older["next_batch"]}) == [slow, last]


async def test_threads_end_before_one_that_is_slow(
    alice: Client, bob: Client, room: str, node: "Node", ways: Ways
) -> None:
    first, slow, last = await three_threads(alice, bob, room)
    ways.one(CN, EU, delay_s=SLOW_S)
    forget_words(node, "cn")
    page = await threads(alice, room, limit=3)
    assert [event["event_id"] for event in page["chunk"]] == [last]
    with refused("M_UNKNOWN", "region eu", status=503):
        await threads(alice, room, **{"from": page["next_batch"]})
    ways.heal()
    assert await roots(alice, room, **{"from": page["next_batch"]}) == [slow, first]


async def test_what_relates_to_an_event_leaves_out_what_is_cut_off_and_the_room_is_told_anew(
    alice: Client, bob: Client, room: str, node: "Node", ways: Ways
) -> None:
    said, (first, _, last) = await three_children(alice, bob, room)
    await alice.poll()
    await ways.cut_and_noticed(EU)
    forget_words(node, "cn")
    page = await children(alice, room, said)
    assert [event["event_id"] for event in page["chunk"]] == [last, first]
    assert "next_batch" not in page
    await ways.healed()
    anew = await alice.sync(alice.since)
    assert anew["rooms"]["join"][room]["timeline"]["limited"]


async def test_threads_leave_out_what_is_cut_off_and_the_room_is_told_anew(
    alice: Client, bob: Client, room: str, node: "Node", ways: Ways
) -> None:
    first, _, last = await three_threads(alice, bob, room)
    await alice.poll()
    await ways.cut_and_noticed(EU)
    forget_words(node, "cn")
    assert await roots(alice, room) == [last, first]
    await ways.healed()
    assert bodies(await alice.sync(alice.since), room)[:3] == ["1 cn", "2 eu", "3 cn"]


async def test_who_is_slow_is_not_left_out_because_somebody_else_is_cut_off(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    await talk(lane, (carol, "ru"), (alice, "cn"), listeners=(alice, carol))
    await ways.cut_and_noticed(RU)
    ways.one(CN, EU, delay_s=SLOW_S)
    forget_words(node, "cn")
    page = await alice.messages(lane, "b", limit=100)
    assert [event["content"].get("body") for event in page["chunk"]] == ["cn"]
    ways.one(CN, EU)
    on = await alice.messages(lane, "b", limit=100, **{"from": page["end"]})
    assert on["chunk"][0]["state_key"] == bob.user_id


async def test_members_that_go_with_a_page_are_not_left_out_for_being_slow(
    alice: Client, bob: Client, room: str, node: "Node", ways: Ways
) -> None:
    [said] = await talk(room, (bob, "eu"), listeners=(alice,))
    forget_words(node, "cn")
    await alice.event(room, said)
    ways.one(CN, EU, delay_s=SLOW_S)
    lazily = {"limit": 1, "filter": {"lazy_load_members": True}}
    with refused("M_UNKNOWN", "region eu", status=503):
        await alice.messages(room, "b", **lazily)
    ways.heal()
    page = await alice.messages(room, "b", **lazily)
    assert [event["state_key"] for event in page["state"]] == [bob.user_id]


async def test_one_event_names_the_region_that_it_waits_for(
    alice: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    """Alice of cn has put out carol of ru: it is carol's name that cannot be had."""
    await alice.kick(lane, carol)
    [kick] = (await alice.messages(lane, "b", limit=1))["chunk"]
    await ways.cut_and_noticed(RU)
    forget_words(node, "cn")
    with refused("M_UNKNOWN", "region ru", status=503):
        await alice.event(lane, kick["event_id"])
    with refused("M_UNKNOWN", "region ru", status=503):
        await context(alice, lane, kick["event_id"])
