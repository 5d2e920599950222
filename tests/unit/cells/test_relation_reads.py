"""What relates to events, against PostgreSQL: one statement for a page, in order, bounded whatever lies around."""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from hutong.cells import relation_reads, tables
from hutong.cells.relation_reads import RelationReads
from hutong.cells.relations import EDITS_MAX, END_OF_ROOM, EVERYTHING, Bundle, Eyes, Kinship, bundled
from hutong.engines.postgres import EmbeddedPostgres
from hutong.ids import Pos, Seq
from hutong.rooms.event_types import MESSAGE, REACTION, Relation
from tests.support.places import data_folder
from tests.unit.cells.test_sync_reads import ALICE, BOB, Book

MANY = 2_000
PAGES_MAX = 40
"""The statement touches 15; 178 when it reads the reactions, or the room."""


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator["asyncpg.Pool[Any]"]:
    with data_folder("relations") as folder:
        postgres = EmbeddedPostgres(folder / "postgres")
        await postgres.start("cell0")
        made = await asyncpg.create_pool(postgres.dsn("cell0"), min_size=1, max_size=2)
        for table in tables.ALL:
            await made.execute(table.create_sql())
        yield made
        await made.close()
        await postgres.stop()


@pytest.fixture
async def book(pool: "asyncpg.Pool[Any]") -> Book:
    return await Book(pool).begin()


@pytest.fixture
def reads(pool: "asyncpg.Pool[Any]") -> RelationReads:
    return RelationReads(pool)


async def child(book: Book, parent: int, kind: int, sender: int = ALICE, **more: Any) -> Seq:
    return await book.event(MESSAGE, sender, rel_seq=parent, rel_type=int(kind), **more)


async def children_of_many(book: Book, parent: int, kind: int, count: int) -> None:
    """`count` children by as many members, in one statement."""
    first, pos = book.seq + 1, book.pos + 1
    columns = [column.name for column in tables.EVENTS.columns]
    changed = {
        "seq": "$2 + n", "pos": "$3 + n", "event_id": "gen_random_uuid()", "sender": "1000 + n", "rel_seq": "$4::int8",
        "rel_type": "$5::int8", "type": f"{REACTION}",
    }  # fmt: skip
    await book.pool.execute(
        f"""INSERT INTO events ({", ".join(columns)})
            SELECT {", ".join(changed.get(name, name) for name in columns)}
            FROM events, generate_series(0, $6::int4 - 1) AS n WHERE room = $1 AND seq = $4::int8""",
        book.room, first, pos, parent, kind, count,
    )  # fmt: skip
    book.seq += count
    book.pos = Pos(book.pos + count)
    for _ in range(count):  # positions are shared by all books of this module
        next(Book._pos)
    await book.pool.execute("VACUUM ANALYZE events")


def eyes(book: Book, **more: Any) -> Eyes:
    return Eyes(room=book.room, ref=ALICE, **more)


async def found(book: Book, reads: RelationReads, *parents: int, **more: Any) -> dict[int, Bundle]:
    places = [(book.room, Seq(parent)) for parent in parents]
    return {seq: bundle for (_, seq), bundle in (await reads.bundles(places, [eyes(book, **more)])).items()}


async def test_a_page_of_several_rooms_is_one_statement(pool: "asyncpg.Pool[Any]", reads: RelationReads) -> None:
    books = [await Book(pool).begin() for _ in range(3)]
    places, readers = [], []
    for n, book in enumerate(books):
        parents = [await book.says() for _ in range(5)]
        for parent in parents[: n + 1]:
            await child(book, parent, Relation.THREAD)
        places += [(book.room, parent) for parent in parents]
        readers.append(eyes(book))
    assert len(await reads.bundles(places, readers)) == 1 + 2 + 3
    assert reads.statements == 1


async def test_the_tail_and_the_tables_tell_the_same(book: Book, reads: RelationReads) -> None:
    parents = [await book.says() for _ in range(3)]
    for parent in parents[:2]:
        for kind in (Relation.THREAD, Relation.REPLACE, Relation.REFERENCE, Relation.ANNOTATION, -5):
            for sender in (ALICE, BOB):
                await child(book, parent, kind, sender)
    await child(book, parents[0], Relation.THREAD, redacted_by=99)
    for _ in range(EDITS_MAX):
        await child(book, parents[1], Relation.REPLACE)
    events = [await reads.children(eyes(book), Kinship(parent=Seq(p)), Seq(0), END_OF_ROOM, 100, backwards=False)
              for p in parents]  # fmt: skip
    for ignored in ((), (BOB,)):
        told = bundled((env for part in events for env in part), eyes(book, ignored=ignored))
        assert {seq: bundle for (_, seq), bundle in told.items()} == await found(book, reads, *parents, ignored=ignored)


async def test_a_bundle_ends_where_the_reader_sees_no_more(book: Book, reads: RelationReads) -> None:
    parent = await book.says()
    seqs = [await child(book, parent, Relation.THREAD) for _ in range(6)]
    first, last = seqs[1], seqs[3]
    [bundle] = (await found(book, reads, parent, seen=((Seq(1), first), (last, last)))).values()
    assert bundle.thread is not None
    assert (bundle.thread.count, bundle.thread.last.seq) == (3, last)
    [bundle] = (await found(book, reads, parent, upto=Pos(book.pos - 4))).values()
    assert bundle.thread is not None
    assert (bundle.thread.count, bundle.thread.last.seq) == (2, first)
    assert await found(book, reads, parent, seen=()) == {}
    assert await found(book, reads, parent, seen=EVERYTHING, ignored=(ALICE,)) == {}


async def test_two_thousand_reactions_read_no_more_than_ten(book: Book, reads: RelationReads) -> None:
    few, many = await book.says(), await book.says()
    await children_of_many(book, few, Relation.ANNOTATION, 10)
    await children_of_many(book, many, Relation.ANNOTATION, MANY)
    for parent in (few, many):
        await child(book, parent, Relation.REPLACE)
        await child(book, parent, Relation.THREAD)
        assert set(await found(book, reads, parent)) == {parent}
    await book.pool.execute("ANALYZE events")
    assert max(await buffers(book, many), await buffers(book, few)) <= PAGES_MAX


async def buffers(book: Book, parent: Seq) -> int:
    """How many pages of the tables and indexes the statement for a page touches."""
    arguments = [[book.room], [parent], [book.room], [ALICE], [2**62], [book.room], [0], [2**62], [], []]
    async with book.pool.acquire() as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        plan = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) " + relation_reads._BUNDLES
        await connection.fetch(plan, *arguments)
        rows = await connection.fetch(plan, *arguments)
        await connection.execute("RESET plan_cache_mode")
    text = "\n".join(row[0] for row in rows)
    touched = re.search(r"shared hit=(\d+)(?: read=(\d+))?", text)
    assert touched is not None
    return int(touched[1]) + int(touched[2] or 0)


async def test_a_long_thread_counts_as_long_as_the_limit(
    book: Book, reads: RelationReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await book.says()
    await children_of_many(book, root, Relation.THREAD, 40)
    limit = f"LIMIT {relation_reads.REPLIES_MAX}"
    assert limit in relation_reads._BUNDLES
    monkeypatch.setattr(relation_reads, "_BUNDLES", relation_reads._BUNDLES.replace(limit, "LIMIT 25"))
    [bundle] = (await found(book, reads, root)).values()
    assert bundle.thread is not None
    assert (bundle.thread.count, bundle.thread.last.seq) == (25, book.seq)


async def test_rows_that_run_in_circles_end(book: Book, reads: RelationReads) -> None:
    """Such rows no room's home makes; a copy might have them from one that lies."""
    first = await book.says()
    itself = await book.event(MESSAGE, rel_seq=book.seq + 1, rel_type=int(Relation.REFERENCE))
    one = await book.event(MESSAGE, rel_seq=book.seq + 2, rel_type=int(Relation.THREAD))
    other = await child(book, one, Relation.THREAD)
    await child(book, first, Relation.REFERENCE)
    everything = await found(book, reads, first, itself, one, other)
    assert everything[itself].references
    assert everything[one].thread is not None
    for recurse in (False, True):
        for parent, others in ((itself, []), (one, [other]), (other, [one])):
            asked = Kinship(parent=parent, recurse=recurse)
            met = await reads.children(eyes(book), asked, Seq(0), END_OF_ROOM, 100, backwards=False)
            assert [env.seq for env in met] == others
    assert (await reads.threads(eyes(book), END_OF_ROOM, 10, None)).roots[0].last == other


async def test_threads_are_walked_to_a_limit_and_go_on_from_there(
    book: Book, reads: RelationReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, busy = await book.says(), await book.says()
    await child(book, old, Relation.THREAD)
    for _ in range(6):
        await child(book, busy, Relation.THREAD)
    limit = f"LIMIT {relation_reads.WALK_MAX}"
    assert limit in relation_reads._THREADS
    monkeypatch.setattr(relation_reads, "_THREADS", relation_reads._THREADS.replace(limit, "LIMIT 3"))
    monkeypatch.setattr(relation_reads, "WALK_MAX", 3)
    start: Seq | None = END_OF_ROOM
    pages = []
    while start is not None:
        page = await reads.threads(eyes(book), start, 10, None)
        pages.append([root.root.seq for root in page.roots])
        start = page.next
    assert pages == [[busy], [], [old]]


async def test_recursion_meets_the_nearest_first_and_no_more_than_a_limit(
    book: Book, reads: RelationReads, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = await book.says()
    near = [await child(book, root, Relation.REFERENCE) for _ in range(4)]
    for parent in near:
        await child(book, parent, Relation.REFERENCE)
    limit = f"LIMIT {relation_reads.TREE_MAX}"
    assert limit in relation_reads._TREE
    monkeypatch.setattr(relation_reads, "_TREE", relation_reads._TREE.replace(limit, "LIMIT 4"))
    asked = Kinship(parent=root, recurse=True)
    met = await reads.children(eyes(book), asked, Seq(0), END_OF_ROOM, 100, backwards=True)
    assert [env.seq for env in met] == near[::-1]
