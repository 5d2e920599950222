"""What a cell keeps for a while only, and how it is swept: in portions, so that no statement takes long.

Transactions go when no client repeats them any more, given-up events when nothing of them can be on its way. Rows of
`out` go after 30 days: a cell that was away for longer is told the same from the timelines (see `missed`). Records of
`log` go when the tail has them no longer: they only say how far the log had come, and that says its last one. So do
those of `in_cursor`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from asyncpg import Pool
from asyncpg.pgproto.pgproto import UUID

from hutong.cells.codes import OutKind
from hutong.ids import CellNo, Minute, Pos

TXNS_KEPT_MIN = 48 * 60
VOIDED_KEPT_MIN = 7 * 24 * 60
"""Longer than any message between cells can be on its way."""
OUT_KEPT_MIN = 30 * 24 * 60
LOG_KEPT = 100_000
PORTION_ROWS = 5_000

_TXNS = "DELETE FROM txns WHERE ctid = ANY (ARRAY(SELECT ctid FROM txns WHERE minute < $1 LIMIT $2))"
_VOIDED = """
    DELETE FROM voided WHERE ctid = ANY (ARRAY(SELECT ctid FROM voided WHERE minute < $1 LIMIT $2))
    RETURNING event_id"""
_LOG = "DELETE FROM log WHERE pos IN (SELECT pos FROM log WHERE pos <= $1 ORDER BY pos LIMIT $2)"
_CURSORS = """
    DELETE FROM in_cursor WHERE ctid = ANY (ARRAY(
        SELECT c.ctid FROM in_cursor c WHERE n < (SELECT max(n) FROM in_cursor WHERE src = c.src) LIMIT $1
    ))"""
_DESTINATIONS = "SELECT DISTINCT dest FROM out"
# The last row that goes becomes the mark: by its number a cell that comes later sees that it missed something. What
# takes words or names away is kept: it is little, and has to arrive however late.
_OUT = f"""
    WITH first AS (
        SELECT n, kind, minute FROM out WHERE dest = $1 AND kind NOT IN ({OutKind.ERASED}, {OutKind.GONE})
        ORDER BY n LIMIT $3
    ), old AS (
        SELECT n, kind FROM first WHERE n < coalesce((SELECT min(n) FROM first WHERE minute >= $2), {2**63 - 1})
    ), mark AS (
        SELECT max(n) AS n FROM old HAVING bool_or(kind <> {OutKind.SWEPT})
    ), gone AS (
        DELETE FROM out o USING old, mark WHERE o.dest = $1 AND o.n = old.n AND old.n < mark.n
    )
    UPDATE out o SET kind = {OutKind.SWEPT}, room = 0, seq = 0, a = 0, b = 0, thread = 0
    FROM mark WHERE o.dest = $1 AND o.n = mark.n
    RETURNING (SELECT count(*) FROM old)"""


@dataclass(frozen=True)
class Retention:
    """The sweeps of one cell. None of them has a position; each portion is one statement on the pool."""

    pool: "Pool[Any]"
    portion_rows: int = PORTION_ROWS

    async def sweep(self, now: Minute, head: Pos) -> set[bytes]:
        """Everything that is due, the log standing at `head`. Returns the given-up events that are forgotten."""
        await self._until_short(_TXNS, now - TXNS_KEPT_MIN)
        await self._until_short(_LOG, head - LOG_KEPT)
        await self._until_short(_CURSORS)
        for (dest,) in await self.pool.fetch(_DESTINATIONS):
            await self._out(dest, Minute(now - OUT_KEPT_MIN))
        return await self._voided(Minute(now - VOIDED_KEPT_MIN))

    async def _until_short(self, statement: str, *limit: int) -> None:
        while _count(await self.pool.execute(statement, *limit, self.portion_rows)) >= self.portion_rows:
            continue

    async def _out(self, dest: CellNo, before: Minute) -> None:
        while (await self.pool.fetchval(_OUT, dest, before, self.portion_rows) or 0) >= self.portion_rows:
            continue

    async def _voided(self, before: Minute) -> set[bytes]:
        forgotten: set[bytes] = set()
        while True:
            rows: Iterable[tuple[UUID]] = await self.pool.fetch(_VOIDED, before, self.portion_rows)
            portion = {event_id.bytes for (event_id,) in rows}
            forgotten |= portion
            if len(portion) < self.portion_rows:
                return forgotten


def _count(status: str) -> int:
    """How many rows a statement says that it deleted."""
    return int(status.rpartition(" ")[2])
