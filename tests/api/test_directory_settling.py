"""An alias whose giving or taking was interrupted is settled later: given if its room came to be, else not there."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from hutong.cells import listing_reads
from hutong.directory.alias import Alias
from hutong.directory.store import DirectoryStore, WordState
from hutong.errors import Conflict, RegionAway, Unavailable
from hutong.ids import AccountNo, CellNo, HomeNo, RoomNo, new_id
from tests.conftest import Newcomer
from tests.support.client import Client, path, refused

if TYPE_CHECKING:
    from asyncpg import Pool

    from hutong.directory.aliases import Aliases
    from hutong.node import Node, Slices

NUMBERS = itertools.count(1)
CN = CellNo(256)


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def home(node: "Node", alice: Client) -> "Slices":
    """What alice's cell does."""
    return node.slices[CellNo(CN + int(alice.token.split(".")[2]))]


@pytest.fixture
def aliases(home: "Slices") -> "Aliases":
    return home.directory.aliases


@pytest.fixture
def alias() -> Alias:
    return Alias(f"interrupted-{next(NUMBERS)}", "cn.localhost")


async def stands_for(alice: Client, alias: Alias) -> str | None:
    answer = await alice.get(path("directory", "room", str(alias)))
    return answer.body["room_id"] if answer.status == 200 else None


async def told(alice: Client, room: str) -> list[str]:
    return list((await alice.ok("GET", path("rooms", room, "aliases")))["aliases"])


async def account_of(home: "Slices", alice: Client) -> AccountNo:
    found = await home.accounts.accounts.find(alice.name)
    assert found is not None
    return found


async def test_given_when_the_room_is_there(home: "Slices", aliases: "Aliases", alice: Client, alias: Alias) -> None:
    room = await alice.create_room()
    info = await home.cell.view.room(home.cell.view.room_no(room))  # type: ignore[arg-type]
    assert info is not None
    claim = aliases.claim(info.raw_id, info.version, info.home)
    with pytest.raises(Crash):
        async with aliases.held(await account_of(home, alice), alias, claim, Conflict("")):
            raise Crash
    assert await told(alice, room) == [], "not told while it is not settled"
    await aliases.settle()
    assert await told(alice, room) == [str(alias)]
    assert await stands_for(alice, alias) == room
    await aliases.settle()
    assert await told(alice, room) == [str(alias)]


@pytest.mark.parametrize("error", [Crash(), Unavailable("nobody knows")])
async def test_not_given_when_the_room_never_came_to_be(
    node: "Node", home: "Slices", aliases: "Aliases", alice: Client, alias: Alias, error: BaseException
) -> None:
    cell = home.cell
    claim = aliases.claim(new_id(cell.minute, cell.random), 12, (await a_home(home, alice)))
    with pytest.raises(type(error)):
        async with aliases.held(await account_of(home, alice), alias, claim, Conflict("")):
            await aliases.settle()  # not while it is being given
            assert await stands_for(alice, alias) is not None
            raise error
    await aliases.settle()
    assert await stands_for(alice, alias) is None
    await alice.create_room(room_alias_name=alias.localpart)


async def test_left_with_who_has_it(
    node: "Node", home: "Slices", aliases: "Aliases", alice: Client, alias: Alias
) -> None:
    """Pending words whose claim was lost, and somebody else has the alias now."""
    first, second = await alice.create_room(), await alice.create_room()
    info = await home.cell.view.room(home.cell.view.room_no(first))  # type: ignore[arg-type]
    assert info is not None
    claim = aliases.claim(info.raw_id, info.version, info.home)
    account = await account_of(home, alice)
    with pytest.raises(Crash):
        async with aliases.held(account, alias, claim, Conflict("")):
            raise Crash
    key = home.cell.blind.alias(str(alias))
    await keeper(node, aliases, key).release(key, claim.id)
    await alice.ok("PUT", path("directory", "room", str(alias)), {"room_id": second})
    await aliases.settle()
    assert (await told(alice, first), await told(alice, second)) == ([], [str(alias)])


async def test_a_taking_that_was_interrupted_is_undone(
    node: "Node", home: "Slices", aliases: "Aliases", alice: Client, alias: Alias
) -> None:
    room = await alice.create_room(room_alias_name=alias.localpart)
    key = home.cell.blind.alias(str(alias))
    id = (await keeper(node, aliases, key).find([key]))[key].id
    assert id is not None
    await aliases._store.set_state(id, WordState.PENDING)
    await keeper(node, aliases, key).release(key, id)  # and then the process ended
    await aliases.settle()
    assert (await told(alice, room), await stands_for(alice, alias)) == ([str(alias)], room)
    await alice.ok("DELETE", path("directory", "room", str(alias)))
    assert await stands_for(alice, alias) is None


async def test_nobody_gives_more_aliases_than_are_kept(
    aliases: "Aliases", alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await alice.create_room()
    monkeypatch.setattr("hutong.directory.aliases.OF_ACCOUNT_MAX", 2)
    names = [f"#many-{next(NUMBERS)}:cn.localhost" for _ in range(3)]
    for name in names[:2]:
        await alice.ok("PUT", path("directory", "room", name), {"room_id": room})
    with refused("M_FORBIDDEN", naming=names[2], status=403):
        await alice.ok("PUT", path("directory", "room", names[2]), {"room_id": room})
    await alice.ok("DELETE", path("directory", "room", names[0]))
    await alice.ok("PUT", path("directory", "room", names[2]), {"room_id": room})


async def test_no_more_rooms_are_published_than_are_searched(
    alice: Client, home: "Slices", monkeypatch: pytest.MonkeyPatch
) -> None:
    published = await alice.create_room(visibility="public")
    there = await home.cell.pool.fetchval("SELECT count(*) FROM published")
    monkeypatch.setattr("hutong.directory.published.PUBLISHED_MAX", there)
    before = await alice.joined_rooms()
    with refused("M_FORBIDDEN", naming="visibility", status=403):
        await alice.create_room(visibility="public")
    assert await alice.joined_rooms() == before
    await alice.ok("PUT", path("directory", "list", "room", published), {"visibility": "public"})


async def a_home(home: "Slices", alice: Client) -> HomeNo:
    return home.cell.names.home_of(alice.name)


async def test_a_creation_that_is_refused_publishes_nothing(
    home: "Slices", alice: Client, alias: Alias, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.create_room(room_alias_name=alias.localpart)
    query = "SELECT count(*) FROM published"
    before = await home.cell.pool.fetchval(query)
    with refused("M_ROOM_IN_USE"):
        await alice.create_room(room_alias_name=alias.localpart, visibility="public")
    with refused("M_INVALID_ROOM_STATE"):
        levels = {"users": {alice.user_id: 100}}
        await alice.create_room(visibility="public", power_level_content_override=levels)
    assert await home.cell.pool.fetchval(query) == before
    with monkeypatch.context() as patched:  # the cell that would know what the alias stands for
        patched.setattr(home.directory.aliases, "_ask", away)
        answer = await alice.post("/createRoom", {"room_alias_name": f"{alias.localpart}-2", "visibility": "public"})
    assert (answer.status, answer.body["hutong.region"]) == (503, "cn")
    assert await home.cell.pool.fetchval(query) == before
    await home.directory.aliases.settle()
    assert await home.directory.aliases._store.pending() == []


async def away(cell: CellNo, request: object) -> object:
    raise RegionAway("cn")


async def test_a_list_that_did_not_change_asks_no_database(
    node: "Node", alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of one that did, only for the rooms that changed."""
    rooms = [await person.create_room(visibility="public", name="Lane") for person in (alice, bob, alice)]
    mine = {node.cells[CN].view.room_no(room) for room in rooms}
    asked: list[set[RoomNo | None]] = []

    async def counts(pool: "Pool[Any]", wanted: Sequence[RoomNo]) -> list[listing_reads.RoomCount]:
        asked.extend([mine & set(wanted)] if mine & set(wanted) else [])
        return await unwatched(pool, wanted)

    unwatched = listing_reads.counts
    monkeypatch.setattr(listing_reads, "counts", counts)
    await bob.ok("GET", "/publicRooms")
    asked.clear()
    for _ in range(3):
        await bob.ok("GET", "/publicRooms")
        await alice.ok("POST", "/publicRooms", {"filter": {"generic_search_term": "lane"}})
    assert asked == []
    await alice.send(rooms[0], "a message changes nothing")
    await bob.ok("GET", "/publicRooms")
    assert asked == []
    await alice.set_state(rooms[0], "m.room.name", {"name": "Street"})
    await bob.ok("GET", "/publicRooms")
    assert asked == [{node.cells[CN].view.room_no(rooms[0])}]


async def test_the_words_of_somebody_erased_leave_the_list(alice: Client, newcomer: Newcomer, alias: Alias) -> None:
    anna = await newcomer("anna", "ru")
    room = await alice.create_room(visibility="public", name=alias.localpart, room_version="11")
    levels = await alice.get_state(room, "m.room.power_levels")
    levels["users"][anna.user_id] = 50
    await alice.set_state(room, "m.room.power_levels", levels)
    await anna.join(room)
    await anna.sees(room, await anna.set_state(room, "m.room.topic", {"topic": "a word of anna's"}))

    async def topic() -> Any:
        body = {"filter": {"generic_search_term": alias.localpart}}
        return (await alice.ok("POST", "/publicRooms", body))["chunk"][0].get("topic")

    await anna.leave(room)  # before, so that nothing but the erasure says that her words are gone
    await alice.until(lambda: alice.membership(room, anna) == "leave", "anna's leaving")
    assert await topic() == "a word of anna's"
    await anna.deactivate(erase=True)
    async with asyncio.timeout(15):
        while await topic() is not None:
            await asyncio.sleep(0.05)


def keeper(node: "Node", aliases: "Aliases", key: bytes) -> DirectoryStore:
    """Of the cell that knows what the alias with this key stands for."""
    return node.slices[aliases._cell_of(key)].directory.aliases._store
