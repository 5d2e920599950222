"""Nobody reacts to an event twice in the same way. Client-Server API v1.19, "Avoiding duplicate annotations"."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from hutong.cells.cell import Cell
from hutong.cells.records import Words
from hutong.cells.relation_reads import RelationReads
from hutong.errors import MatrixError
from hutong.ids import MemberRef, RoomNo
from hutong.rooms.relating import relation_of

_OBJECT = msgspec.json.Decoder(dict[str, Any])


class DuplicateAnnotation(MatrixError):
    errcode = "M_DUPLICATE_ANNOTATION"


class Annotations:
    """Asked where the author is at home: the keys are the author's words, and are nowhere else."""

    def __init__(self, cell: Cell, reads: RelationReads) -> None:
        self._cell = cell
        self._reads = reads

    @asynccontextmanager
    async def once(self, room: RoomNo, author: MemberRef, type: str, content: Mapping[str, Any]) -> AsyncIterator[None]:
        """Let an annotation be sent within the block, unless the author's equal one is there or under way.

        It is looked for among the author's last hundred of the event, of this cell's copy of the room.

        Raises: DuplicateAnnotation (400).
        Cost: nothing for other events; else two statements, and the words of what the author annotated the event with.
        """
        target, relation = relation_of(content)
        if target is None or relation != "m.annotation":
            yield
            return
        async with self._cell.settling.deciding.about(author.to_bytes(8, "big", signed=True) + target):
            if await self._is_there(room, target, author, type, content):
                raise DuplicateAnnotation("m.relates_to: you have annotated this event with this key already")
            yield

    async def _is_there(
        self, room: RoomNo, target: bytes, author: MemberRef, type: str, content: Mapping[str, Any]
    ) -> bool:
        parent = await self._cell.reads.event_by_id(target)
        if parent is None or parent.env.room != room:
            return False
        words = await self._cell.words.fetch(await self._reads.annotations(room, parent.env.seq, author))
        key = content["m.relates_to"].get("key")
        return any(
            isinstance(said, Words)
            and said.type == type
            and _OBJECT.decode(said.json)["m.relates_to"].get("key") == key
            for said in words.values()
        )
