"""Two runs that differ only in what one person says leave the other regions with the same rows.

That says more than any search: whatever was hashed, cut or encoded from the words would differ too, and so would sizes.
"""

import asyncio
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import aiohttp
import pytest

from hutong import config
from hutong.node import Node, start
from hutong.schema import TABLES
from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF
from tests.support.client import DEADLINE_S, Client, Http, path
from tests.support.places import data_folder, free_ports

UNSEEDED = (("rev", "gen"), ("accounts", "password"))
"""Drawn when the database is made, before anybody comes; salted by Argon2 itself."""
LAST_OF = {"in_cursor": "SELECT src, max(n) FROM in_cursor GROUP BY src"}
"""How many rows there are depends on what came together."""
NOON = 1_798_200_000.0
Rows = dict[str, dict[str, list[tuple[Any, ...]]]]


def seeded(seed: str) -> Callable[[int], bytes]:
    """Random bytes, with a sequence for each place in the code: what happens in the background shifts no other."""
    sources: dict[str, Random] = {}

    def draw(count: int) -> bytes:
        place = sys._getframe(1).f_code
        key = f"{place.co_filename}:{place.co_qualname}"
        if key not in sources:
            sources[key] = Random(f"{seed} {key}")
        return sources[key].randbytes(count)

    return draw


async def play(session: aiohttp.ClientSession, secret: str) -> Rows:
    """alice of cn, bob of eu and carol of ru talk; everything of carol's that is hers to choose holds `secret`."""
    with data_folder("twin") as folder:
        (folder / "hutong.toml").write_text(LIMITS_OFF + CHEAP_PASSWORDS)
        settings = config.load(folder / "hutong.toml", {}, data=folder / "data", port=free_ports())
        node = await start(settings, clock=lambda: NOON, random=seeded("twins"))
        try:
            http = Http(session, node.base_url, None)
            alice = await Client(http, "alice", "cn").register(device_id="A")
            bob = await Client(http, "bob", "eu").register(device_id="B")
            carol = await Client(http, "carol", "ru").register(
                device_id=f"C {secret}", initial_device_display_name=secret, password=f"{secret}, {secret}"
            )
            await carol.ok("PUT", path("profile", carol.user_id, "displayname"), {"displayname": secret})
            room = await alice.create_room(preset="public_chat", name="Courtyard")
            await bob.join(room)
            await carol.join(room, reason=secret)
            await alice.send(room, "Good morning")
            first = await carol.send_event(
                room, "m.room.message", {"msgtype": "m.text", "body": secret}, txn=f"t{secret}"
            )
            await bob.sees(room, first)
            await carol.send(room, secret * 40)
            reaction = {"rel_type": "m.annotation", "event_id": first, "key": secret}
            await carol.send_event(room, "m.reaction", {"m.relates_to": reaction})
            await carol.redact(room, await carol.send(room, secret), reason=secret)
            await carol.mark_read(room, first)
            await carol.ok("PUT", path("user", carol.user_id, "account_data", secret), {"words": secret})
            await carol.ok("POST", path("user", carol.user_id, "filter"), {"room": {"timeline": {"types": [secret]}}})
            own = await carol.create_room(preset="private_chat", name=secret, topic=secret)
            alias = f"#{secret}:ru.localhost"
            await carol.ok("PUT", path("directory", "room", alias), {"room_id": own})
            await carol.set_state(own, "m.room.canonical_alias", {"alias": alias})
            await carol.ok("PUT", path("directory", "list", "room", own), {"visibility": "public"})
            for reader in (alice, bob):
                await reader.ok("GET", path("directory", "room", alias))
                search = {"filter": {"generic_search_term": secret}}
                assert len((await reader.ok("POST", "/publicRooms", search))["chunk"]) == 1
            await carol.invite(own, bob, reason=secret)
            await bob.accept(own)
            last = await carol.send(own, secret)
            for reader in (alice, bob):
                await reader.sync()
                await reader.history(room)
            await bob.sees(own, last)
            await _settled(node)
            return {region: await _rows(node, region) for region in ("cn", "eu", "ru")}
        finally:
            await node.stop()


async def _settled(node: Node) -> None:
    """Wait until every cell has heard everything that the others have for it."""
    async with asyncio.timeout(DEADLINE_S):
        while not all([await _heard_everything(node, number) for number in node.cells]):
            await asyncio.sleep(0.05)


async def _heard_everything(node: Node, number: Any) -> bool:
    for source in node.cells:
        ahead = await node.cells[source].pool.fetchval("SELECT max(n) FROM out WHERE dest = $1", number)
        behind = await node.cells[number].pool.fetchval("SELECT max(n) FROM in_cursor WHERE src = $1", source)
        if (ahead or 0) > (behind or 0):
            return False
    return True


async def _rows(node: Node, region: str) -> dict[str, list[tuple[Any, ...]]]:
    pool = next(cell.pool for number, cell in node.cells.items() if number // 256 == node.config.region(region).number)
    found = {}
    for table in TABLES:
        columns = [column.name for column in table.columns if (table.name, column.name) not in UNSEEDED]
        rows = await pool.fetch(LAST_OF.get(table.name) or f"SELECT {', '.join(columns)} FROM {table.name}")
        found[table.name] = sorted((tuple(row.values()) for row in rows), key=repr)
    return found


@pytest.fixture(scope="module")
async def twins(session: aiohttp.ClientSession) -> tuple[Rows, Rows]:
    return await play(session, "alpha"), await play(session, "bravo, and longer")


@pytest.mark.parametrize("region", ["cn", "eu"])
async def test_the_regions_of_others_hold_the_same_rows(twins: tuple[Rows, Rows], region: str) -> None:
    one, other = twins
    for table, rows in one[region].items():
        assert rows == other[region][table], f"{region}.{table} depends on what carol of ru says"
    assert one[region]["events"]


async def test_her_own_region_does_not(twins: tuple[Rows, Rows]) -> None:
    """The proof can fail: at home the sealed words differ."""
    one, other = twins
    assert one["ru"]["content"] != other["ru"]["content"]
    assert one["ru"]["accounts"] != other["ru"]["accounts"]
    assert one["ru"]["aliases"] != other["ru"]["aliases"]
    assert one["ru"]["alias_words"] != other["ru"]["alias_words"]
