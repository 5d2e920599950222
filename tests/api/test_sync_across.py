"""What a reader is told while the home of somebody's words is cut off: nothing false, nothing lost, no blanks."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hutong.cells.view import Lru
from hutong.ids import CellNo
from hutong.node import Node, Slices
from tests.api.test_sync import eventually, joined, token, told
from tests.support.client import Client, Json


def texts(body: Json, room: str) -> list[str]:
    return [event["content"].get("body") for event in told(body, room)]


def of_region(node: Node, region: str) -> Slices:
    return next(slices for slices in node.slices.values() if slices.cell.region.name == region)


def cells_of(node: Node, region: str) -> list[CellNo]:
    return [number for number, cell in node.cells.items() if cell.region.name == region]


@contextmanager
def cut(node: Node, asking: str, asked: str) -> Iterator[Callable[[], None]]:
    """No question of one region reaches the other. Yields what mends it."""
    ways = list(itertools.product(cells_of(node, asking), cells_of(node, asked)))

    def mend() -> None:
        for way in ways:
            node.link.faults[way].cut = False

    for way in ways:
        node.link.faults[way].cut = True
    try:
        yield mend
    finally:
        mend()


def forget_words(node: Node, region: str) -> None:
    """As after a restart: nothing of what was said is in memory."""
    slices = of_region(node, region)
    slices.cell.words._cache = Lru(1_000)
    slices.sync.builder._pieces._cache = Lru(1_000)
    for record in slices.cell.tail._records:
        record.words = None


async def talk(alice: Client, bob: Client, carol: Client, lane: str) -> str:
    """alice of cn, bob of eu and alice again speak; carol of ru has the copies. Returns her token from before."""
    other = await carol.another_device()
    since = await token(carol)
    for speaker, text in ((alice, "first"), (bob, "second"), (alice, "third")):
        event = await speaker.send(lane, text)
        for listener in (alice, bob, other):
            await listener.sees(lane, event)
    return since


async def test_an_answer_ends_before_what_cannot_be_read_and_goes_on_afterwards(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    since = await talk(alice, bob, carol, lane)
    forget_words(node, "ru")
    with cut(node, "ru", "eu") as mend:
        body = await carol.sync(since)
        assert texts(body, lane) == ["first"]
        stuck = await carol.sync(body["next_batch"], timeout=100)
        assert "rooms" not in stuck
        assert stuck["next_batch"] == body["next_batch"]
        waiting = asyncio.create_task(carol.sync(stuck["next_batch"], timeout=20_000))
        await asyncio.sleep(0)
        mend()
        async with asyncio.timeout(10):
            assert texts(await waiting, lane) == ["second", "third"]


async def test_a_first_sync_shows_what_is_after_the_unreadable_and_says_that_there_is_more(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    await talk(alice, bob, carol, lane)
    forget_words(node, "ru")
    with cut(node, "ru", "eu"):
        there = joined(await carol.sync(), lane)
        assert [event["content"].get("body") for event in there["timeline"]["events"]] == ["third"]
        assert there["timeline"]["limited"] is True
    page = await carol.messages(lane, "b", limit=100, **{"from": there["timeline"]["prev_batch"]})
    assert [event["content"].get("body") for event in page["chunk"]][:2] == ["second", "first"]


async def test_an_invitation_from_a_region_that_is_cut_off_still_says_who_invites(
    node: Node, alice: Client, carol: Client
) -> None:
    since = await token(carol)
    room = await alice.create_room(name="Tea house")
    await alice.invite(room, carol)
    await eventually(carol, since, lambda body: room in body.get("rooms", {}).get("invite", {}))
    with cut(node, "ru", "cn"):
        body = await carol.sync()
        [event] = body["rooms"]["invite"][room]["invite_state"]["events"]
        assert (event["type"], event["sender"]) == ("m.room.member", alice.user_id)
        assert event["state_key"] == carol.user_id


async def test_a_slow_home_holds_up_its_own_words_only(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    since = await talk(alice, bob, carol, lane)
    forget_words(node, "ru")
    way = (of_region(node, "ru").cell.number, of_region(node, "eu").cell.number)
    node.link.faults[way].delay_s = 0.2
    try:
        assert texts(await carol.sync(since), lane) == ["first", "second", "third"]
    finally:
        node.link.faults[way].delay_s = 0.0


async def test_an_own_move_after_the_unreadable_loses_nothing_before_it(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    since = await talk(alice, bob, carol, lane)
    await carol.put(f"/profile/{carol.user_id}/displayname", {"displayname": "Carol"})
    await carol.until(lambda: "displayname" in str(carol.timeline[lane]), "her own new name")
    forget_words(node, "ru")
    slices = of_region(node, "ru")
    who = await slices.accounts.sessions.resolve(carol.token)
    slices.sync.sessions.end(who.account)  # her session begins anew: it knows her last move only
    with cut(node, "ru", "eu") as mend:
        body = await carol.sync(since)
        assert texts(body, lane) == ["first"]
        mend()
        seen: list[str] = []
        while "third" not in seen:
            body = await carol.sync(body["next_batch"], timeout=2_000)
            seen += texts(body, lane)
    assert seen[:2] == ["second", "third"]
