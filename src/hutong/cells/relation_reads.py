"""What relates to events: by parent for a whole page at once, the children of one event, the threads of a room.

Rows are found by kind and in order (`events_by_relation`), so that a page costs the same however many reactions, or
members, or messages there are. What is counted, listed or walked through has a limit, said beside each.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncpg import Range

from hutong.cells.records import Envelope
from hutong.cells.relations import (
    EDITS_MAX,
    REFERENCES_MAX,
    Bundle,
    Eyes,
    Kinship,
    Place,
    Thread,
    ThreadRoot,
    ThreadsFound,
)
from hutong.cells.rows import EVENT_COLUMNS, columns, event_of
from hutong.ids import MemberRef, RoomNo, Seq
from hutong.rooms.event_types import Relation

if TYPE_CHECKING:
    from asyncpg import Pool, Record

REPLIES_MAX: Final = 5_000
"""The newest events of a thread that are counted. A longer thread counts as this long."""
DEPTH_MAX: Final = 5
"""How many relations may lie between an event and one that is found by recursion."""
TREE_MAX: Final = 10_000
"""How many events a recursion meets at most, the nearest first."""
ANNOTATIONS_MAX: Final = 100
"""How many annotations of one event by one member are compared with another one of theirs."""
WALK_MAX: Final = 5_000
"""How many events of threads one page of threads is looked for in."""
_E: Final = ", ".join(f"e.{column}" for column in EVENT_COLUMNS.split(", "))
_LIVE: Final = "e.redacted_by IS NULL"


# The parts that the statements share. `v` is what a reader sees of a room.
_MAY: Final = """
    e.pos <= v.upto AND v.seen @> e.seq AND NOT EXISTS (
        SELECT FROM unnest({ignored}::int8[], {ignored_refs}::int8[]) AS i(room, ref)
        WHERE i.room = e.room AND i.ref = e.sender
    )"""
_BUNDLE_MAY: Final = _MAY.format(ignored="$9", ignored_refs="$10")
# Nothing relates to most events: that is found out first, by one probe for each.
_BUNDLES = f"""
    WITH p AS MATERIALIZED (
        SELECT p.room, p.seq FROM unnest($1::int8[], $2::int8[]) AS p(room, seq) CROSS JOIN LATERAL (
            SELECT FROM events e WHERE e.room = p.room AND e.rel_seq = p.seq LIMIT 1
        ) e
    ), v AS (
        SELECT p.room, p.seq, v.me, v.upto, s.seen FROM p
        JOIN unnest($3::int8[], $4::int8[], $5::int8[]) AS v(room, me, upto) ON v.room = p.room
        JOIN (
            SELECT room, range_agg(int8range(first, last, '[]')) AS seen
            FROM unnest($6::int8[], $7::int8[], $8::int8[]) AS r(room, first, last) GROUP BY room
        ) s ON s.room = p.room
    ), threads AS (
        SELECT v.room, v.seq, v.upto, v.seen, t.n, t.last, t.mine FROM v CROSS JOIN LATERAL (
            SELECT count(*) AS n, max(e.seq) AS last, bool_or(e.sender = v.me) AS mine FROM (
                SELECT room, seq, sender, pos FROM events e
                WHERE e.room = v.room AND e.rel_seq = v.seq AND e.rel_type = {Relation.THREAD} AND {_LIVE}
                ORDER BY e.seq DESC LIMIT {REPLIES_MAX}
            ) e WHERE {_BUNDLE_MAY}
        ) t WHERE t.n > 0
    ), parents AS (
        SELECT room, seq, upto, seen FROM v
        UNION SELECT room, last, upto, seen FROM threads
    )
    SELECT {Relation.THREAD} AS kind, t.seq AS parent, t.n, t.mine, {_E}
    FROM threads t JOIN events e ON e.room = t.room AND e.seq = t.last
    UNION ALL
    SELECT {Relation.REPLACE}, v.seq, 0, false, {_E} FROM parents v CROSS JOIN LATERAL (
        SELECT {EVENT_COLUMNS} FROM events e
        WHERE e.room = v.room AND e.rel_seq = v.seq AND e.rel_type = {Relation.REPLACE} AND {_LIVE} AND {_BUNDLE_MAY}
        ORDER BY e.seq DESC LIMIT {EDITS_MAX}
    ) e
    UNION ALL
    SELECT {Relation.REFERENCE}, v.seq, 0, false, {_E} FROM parents v CROSS JOIN LATERAL (
        SELECT {EVENT_COLUMNS} FROM events e
        WHERE e.room = v.room AND e.rel_seq = v.seq AND e.rel_type = {Relation.REFERENCE} AND {_LIVE} AND {_BUNDLE_MAY}
        ORDER BY e.seq DESC LIMIT {REFERENCES_MAX}
    ) e"""

_ONE: Final = "(SELECT $1::int8 AS room, $2::int8 AS upto, $3::int8multirange AS seen) v"
_ONE_MAY: Final = _MAY.format(ignored="$4", ignored_refs="$5")
_MATCHES: Final = f"""
    e.rel_type <> {Relation.REDACTION} AND {_LIVE} AND {_ONE_MAY}
    AND ($7::int8[] IS NULL OR e.rel_type = ANY($7)) AND ($8::int8 IS NULL OR e.type = $8)"""
# Without the subquery's OFFSET, a plan that walks the whole room backwards looks cheaper than it is.
_CHILDREN = f"""
    SELECT * FROM (
        SELECT {_E} FROM {_ONE} JOIN events e ON e.room = v.room AND e.rel_seq = $6 AND {_MATCHES}
        WHERE e.seq > $9 AND e.seq <= $10 AND e.seq <> $6 OFFSET 0
    ) e ORDER BY e.seq {{order}} LIMIT $11"""
_TREE = f"""
    WITH RECURSIVE tree AS (
        SELECT e.seq, 1 AS depth FROM {_ONE} JOIN events e ON e.room = v.room AND e.rel_seq = $6 AND {_MATCHES}
        UNION
        SELECT e.seq, tree.depth + 1 FROM tree CROSS JOIN {_ONE}
        JOIN events e ON e.room = v.room AND e.rel_seq = tree.seq AND {_MATCHES}
        WHERE tree.depth < {DEPTH_MAX}
    )
    SELECT {_E} FROM (SELECT DISTINCT seq FROM (SELECT seq FROM tree LIMIT {TREE_MAX}) met) met
    JOIN events e ON e.room = $1 AND e.seq = met.seq
    WHERE e.seq > $9 AND e.seq <= $10 AND e.seq <> $6
    ORDER BY e.seq {{order}} LIMIT $11"""

_THREADS = f"""
    WITH walked AS MATERIALIZED (
        SELECT room, seq, rel_seq, sender, pos, redacted_by FROM events
        WHERE room = $1 AND rel_type = {Relation.THREAD} AND rel_seq IS NOT NULL AND seq <= $6
        ORDER BY seq DESC LIMIT {WALK_MAX}
    ), latest AS (
        SELECT w.room, w.seq, w.rel_seq FROM {_ONE} CROSS JOIN LATERAL (
            SELECT * FROM walked e WHERE {_LIVE} AND {_ONE_MAY}
        ) w
        WHERE v.seen @> w.rel_seq AND NOT EXISTS (
            SELECT FROM events e
            WHERE e.room = w.room AND e.rel_seq = w.rel_seq AND e.rel_type = {Relation.THREAD} AND e.seq > w.seq
                AND {_LIVE} AND {_ONE_MAY}
        )
    )
    SELECT b.walked, b.floor, l.seq AS last, {_E}
    FROM (SELECT count(*) AS walked, min(seq) AS floor FROM walked) b
    LEFT JOIN (
        latest l JOIN events e ON e.room = l.room AND e.seq = l.rel_seq
            AND ($8::int8 IS NULL OR e.sender = $8 OR EXISTS (
                SELECT FROM (
                    SELECT r.sender FROM events r
                    WHERE r.room = e.room AND r.rel_seq = e.seq AND r.rel_type = {Relation.THREAD}
                        AND r.redacted_by IS NULL
                    ORDER BY r.seq DESC LIMIT {REPLIES_MAX}
                ) r WHERE r.sender = $8
            ))
    ) ON true
    ORDER BY l.seq DESC LIMIT $7"""

_ANNOTATIONS = f"""
    SELECT {EVENT_COLUMNS} FROM events e
    WHERE e.room = $1 AND e.rel_seq = $2 AND e.sender = $3 AND e.rel_type = {Relation.ANNOTATION}
        AND {_LIVE}
    ORDER BY e.seq DESC LIMIT {ANNOTATIONS_MAX}"""


class RelationReads:
    """Cost of each method: one statement."""

    def __init__(self, pool: "Pool[Record]") -> None:
        self._pool = pool
        self.statements = 0
        """Statements so far: tests count them."""

    async def _fetch(self, sql: str, *arguments: Any) -> "list[Record]":
        self.statements += 1
        return await self._pool.fetch(sql, *arguments)

    async def bundles(self, parents: Iterable[Place], readers: Sequence[Eyes]) -> dict[Place, Bundle]:
        """The bundle of each of `parents` to which something relates, and of the last event of each thread.

        `readers`: one for each room, the same person.
        """
        rows = await self._fetch(
            _BUNDLES, *columns(parents, 2), *columns(((eyes.room, eyes.ref, eyes.upto) for eyes in readers), 3),
            *columns(((eyes.room, *seen) for eyes in readers for seen in eyes.seen), 3), *_ignored(readers),
        )  # fmt: skip
        edits: dict[Place, list[Envelope]] = {}
        references: dict[Place, list[bytes]] = {}
        threads: dict[Place, Thread] = {}
        for kind, parent, count, mine, *event in rows:
            env = event_of(tuple(event)).env
            place = (env.room, Seq(parent))
            if kind == Relation.THREAD:
                threads[place] = Thread(env, count, mine)
            elif kind == Relation.REPLACE:
                edits.setdefault(place, []).append(env)
            else:
                references.setdefault(place, []).append(env.event_id)
        return {
            place: Bundle(
                edits=tuple(edits.get(place, ())),
                references=tuple(references.get(place, ())),
                thread=threads.get(place),
            )
            for place in dict.fromkeys((*edits, *references, *threads))
        }

    async def children(
        self, eyes: Eyes, asked: Kinship, after: Seq, upto: Seq, limit: int, *, backwards: bool
    ) -> list[Envelope]:
        """Up to `limit` children of an event with a seq after `after` and up to `upto`, in order.

        Cost: grows with the children of the event; with `recurse` with what relates to it over any number of steps,
        up to `TREE_MAX`.
        """
        sql = (_TREE if asked.recurse else _CHILDREN).format(order="DESC" if backwards else "ASC")
        relations = None if asked.relations is None else list(asked.relations)
        rows = await self._fetch(
            sql, eyes.room, eyes.upto, _ranges(eyes), *_ignored([eyes]), asked.parent, relations, asked.type, after,
            upto, limit,
        )  # fmt: skip
        return [event_of(row).env for row in rows]

    async def threads(self, eyes: Eyes, start: Seq, limit: int, participant: MemberRef | None) -> ThreadsFound:
        """Up to `limit` threads whose last event is at or before `start`, the latest first.

        `participant`: only those in which this member takes part. A page may be shorter than `limit` and not the last.
        """
        rows = await self._fetch(
            _THREADS, eyes.room, eyes.upto, _ranges(eyes), *_ignored([eyes]), start, limit + 1, participant
        )
        found = [ThreadRoot(event_of(tuple(root)).env, Seq(last)) for _, _, last, *root in rows if last is not None]
        if len(found) > limit:
            return ThreadsFound(found[:limit], Seq(found[limit].last))
        walked, floor = rows[0][:2]
        return ThreadsFound(found, Seq(floor - 1) if walked == WALK_MAX else None)

    async def annotations(self, room: RoomNo, parent: Seq, sender: MemberRef) -> list[Envelope]:
        """What one member has annotated an event with, the newest first."""
        return [event_of(row).env for row in await self._fetch(_ANNOTATIONS, room, parent, sender)]


def _ranges(eyes: Eyes) -> "list[Range[int]]":
    return [Range(first, last, upper_inc=True) for first, last in eyes.seen]


def _ignored(readers: Iterable[Eyes]) -> list[list[int]]:
    return columns(((eyes.room, ref) for eyes in readers for ref in eyes.ignored), 2)
