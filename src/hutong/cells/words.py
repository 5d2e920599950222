"""Content in memory: what events say, from the vault when their author is at home here, else read through.

"gone" is authoritative (erased, redacted); "away" only says that the author's home could not be asked now.
"""

import asyncio
from collections.abc import Iterable
from enum import Enum

from hutong.cells.codes import ContentState
from hutong.cells.directory import Directory
from hutong.cells.link import Link, LinkDown
from hutong.cells.messages import Contents, Found, Gone
from hutong.cells.reads import Reads
from hutong.cells.records import Envelope, Words, unpack
from hutong.cells.view import Lru
from hutong.ids import CellNo
from hutong.vault.vault import Gone as KeyGone
from hutong.vault.vault import Vault

CACHED_EVENTS_MAX = 50_000
IDS_PER_CALL_MAX = 1_000
IDS_AT_ONCE = 100
"""How many events are opened at a time to answer another cell."""
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""An answer to another cell has no more after so many bytes of words; the other cell asks again for the rest."""


class Lost(Enum):
    GONE = "gone"
    AWAY = "away"


class WordsReader:
    """Cost of `fetch`: one statement for all events of this cell, nothing for cached ones. One call per other cell, and
    one more for each IDS_PER_CALL_MAX events or ANSWER_BYTES_MAX bytes of words.
    """

    def __init__(self, cell: CellNo, directory: Directory, reads: Reads, vault: Vault, link: Link) -> None:
        self._cell = cell
        self._directory = directory
        self._reads = reads
        self._vault = vault
        self._link = link
        self._cache: Lru[bytes, Words] = Lru(CACHED_EVENTS_MAX)

    def keep(self, event_id: bytes, words: Words) -> None:
        """Content that came by in memory."""
        self._cache.put(event_id, words)

    def drop(self, event_id: bytes) -> None:
        self._cache.drop(event_id)

    def cached(self, env: Envelope) -> Words | Lost | None:
        if env.redacted_by is not None:
            return Lost.GONE
        return self._cache.get(env.event_id)

    async def fetch(self, envelopes: Iterable[Envelope], wait_s: float = 1.0) -> dict[bytes, Words | Lost]:
        """The words of each event by its id."""
        found: dict[bytes, Words | Lost] = {}
        wanted: dict[CellNo, list[bytes]] = {}
        for env in envelopes:
            words = self.cached(env)
            if words is not None:
                found[env.event_id] = words
            else:
                wanted.setdefault(self._directory.cell_of(env.home), []).append(env.event_id)
        own = wanted.pop(self._cell, None)
        if own:
            found |= await self.open(own)
        if wanted:
            for part in await asyncio.gather(*(self._ask(cell, ids, wait_s) for cell, ids in wanted.items())):
                found |= part
        return found

    async def open(self, ids: list[bytes]) -> dict[bytes, Words | Lost]:
        """The words of events whose authors are at home here."""
        rows = await self._reads.contents(ids)
        opened: dict[bytes, Words | Lost] = {}
        for id in ids:
            row = rows.get(id)
            if row is None:
                opened[id] = Lost.GONE
                continue
            account, state, sealed = row
            try:
                words = unpack(self._vault.open(account, id, sealed))
            except KeyGone:
                opened[id] = Lost.GONE
                continue
            opened[id] = words
            if state == ContentState.LIVE:
                self._cache.put(id, words)
        return opened

    async def _ask(self, cell: CellNo, ids: list[bytes], wait_s: float) -> dict[bytes, Words | Lost]:
        answers: dict[bytes, Words | Lost] = {}
        first = 0
        while first < len(ids):
            part = ids[first : first + IDS_PER_CALL_MAX]
            try:
                replies = await self._link.call(cell, Contents(ids=part), wait_s)
            except LinkDown:
                replies = []
            if not replies:
                answers |= dict.fromkeys(ids[first:], Lost.AWAY)
                break
            first += len(replies)
            for id, reply in zip(part, replies, strict=False):  # an answer may end early
                if isinstance(reply, Gone):
                    answers[id] = Lost.GONE
                else:
                    answers[id] = reply.words
                    self._cache.put(id, reply.words)
        return answers

    async def answer(self, _: CellNo, request: Contents) -> list[Found | Gone]:
        """Another cell reads through. The answer ends early, but never empty, where it would get too long."""
        answers: list[Found | Gone] = []
        size = 0
        for first in range(0, len(request.ids), IDS_AT_ONCE):
            part = request.ids[first : first + IDS_AT_ONCE]
            opened = await self.open(part)
            for id in part:
                if size >= ANSWER_BYTES_MAX:
                    return answers
                words = opened[id]
                if isinstance(words, Lost):
                    answers.append(Gone())
                else:
                    answers.append(Found(words))
                    size += len(words.json)
        return answers
