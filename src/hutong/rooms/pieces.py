"""The part of an event that every reader shares, as bytes, made once and kept.

Words and names are fetched for all events of an answer at once: one statement or call per cell for each.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from msgspec import Struct

from hutong.cells.names import Names
from hutong.cells.records import Envelope, Words
from hutong.cells.view import Lru
from hutong.cells.words import Lost, WordsReader
from hutong.ids import CellNo, HomeNo, MemberRef, RoomNo
from hutong.rooms import render
from hutong.rooms.governing import NameAway

PIECES_MAX: Final = 50_000

Governing = Callable[[Envelope], Awaitable[dict[str, Any] | None]]
"""What a state event whose words are gone still says, since the room goes on by it."""


class Piece(Struct, frozen=True, gc=False):
    """An event without its last brace, and what filters ask about it."""

    fragment: bytes
    ts_ms: int
    type: str
    sender: str
    state_key: str | None
    content: bytes
    room: RoomNo
    refs: tuple[int, int | None]
    """Whose user ids stand in it."""


class Pieces:
    def __init__(
        self,
        words: WordsReader,
        names: Names,
        governing: Governing,
        cell_of: Callable[[HomeNo], CellNo],
        pieces_max: int = PIECES_MAX,
    ) -> None:
        self._words = words
        self._names = names
        self._governing = governing
        self._cell_of = cell_of
        self._cache: Lru[tuple[bytes, bool], Piece] = Lru(pieces_max)  # by id, and whether it is redacted

    async def fetch(self, envelopes: Iterable[Envelope]) -> tuple[dict[bytes, Piece], dict[bytes, CellNo]]:
        """The piece of each event by its id; and for each one that is absent, the cell that did not answer: the home of
        its author, or of whom it is about.

        Cost: a dictionary look-up for an event that was shown lately.
        """
        pieces: dict[bytes, Piece] = {}
        away: dict[bytes, CellNo] = {}
        missing: list[Envelope] = []
        cached = self._cache.get
        for env in envelopes:
            piece = cached((env.event_id, env.redacted_by is not None))
            if piece is None:
                missing.append(env)
            else:
                pieces[env.event_id] = piece
        if missing:
            await self._make(missing, pieces, away)
        return pieces, away

    async def _make(self, envelopes: list[Envelope], pieces: dict[bytes, Piece], away: dict[bytes, CellNo]) -> None:
        words = await self._words.fetch(envelopes)
        homes = {(env.room, env.sender): env.home for env in envelopes}
        names, silent = await self._names.look_up(((env.room, ref) for env in envelopes for ref in env.people), homes)
        for env in envelopes:
            said, sender = words[env.event_id], names.get((env.room, env.sender))
            if said is Lost.AWAY:
                away[env.event_id] = self._cell_of(env.home)
                continue
            if sender is None:
                away[env.event_id] = silent.get((env.room, env.sender), self._cell_of(env.home))
                continue
            if not isinstance(said, Words):
                try:
                    said = render.without_words(env, await self._governing(env))
                except NameAway as silent_one:
                    away[env.event_id] = silent_one.cell
                    continue
            state_key = said.state_key
            if env.target is not None:
                state_key = names.get((env.room, env.target))
                if state_key is None:
                    away[env.event_id] = silent.get((env.room, env.target), self._cell_of(env.home))
                    continue
            piece = Piece(
                render.fragment(env, said, sender, state_key),
                said.ts_ms,
                said.type,
                sender,
                state_key,
                said.json,
                env.room,
                (env.sender, env.skey),
            )
            pieces[env.event_id] = piece
            if words[env.event_id] is not Lost.GONE:  # what is governed by may still change
                self._cache.put((env.event_id, env.redacted_by is not None), piece)

    def name(self, room: RoomNo, ref: MemberRef) -> str | None:
        """Somebody's user id, when it is at hand."""
        return self._names.cached(room, ref)

    async def names(self, people: Iterable[tuple[RoomNo, MemberRef]]) -> dict[tuple[RoomNo, MemberRef], str]:
        """Their user ids; those whose home is away are absent."""
        return await self._names.fetch(people)

    def forget(self, room: RoomNo, ref: MemberRef) -> None:
        """Somebody was erased: drop what they wrote and what names them. Cost: looks at every piece kept."""
        self._cache.drop_where(lambda piece: piece.room == room and ref in piece.refs)
