"""What one look at the news of a session found. Filled by the sources of a cell, put into words by `response`."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hutong.cells.codes import ReceiptType
from hutong.cells.records import Envelope, ReceiptRow, Record
from hutong.cells.relations import Bundle, Place
from hutong.ids import CellNo, MemberRef, Pos, RoomNo, Seq
from hutong.rooms.pieces import Piece
from hutong.rooms.unsigned import Around
from hutong.sync.model import Ask, News
from hutong.sync.session import Session


class Stuck(Exception):
    """A cell is slow, and so what has to be told cannot be read now. `pos`: everything before it can be told."""

    def __init__(self, pos: Pos, cell: CellNo) -> None:
        super().__init__(pos)
        self.pos = pos
        self.cell = cell


@dataclass(slots=True, kw_only=True)
class Look:
    """What was found between `since` (None: anew) and `upto`."""

    ask: Ask
    session: Session
    since: Pos | None
    upto: Pos
    eph: int
    """Typing was told up to this number; -1: never."""
    me: str = ""
    """The account's user id, where the filter asks for the senders of account data."""
    news: list[News] = field(default_factory=list)
    account_data: list[tuple[RoomNo, str, bytes]] = field(default_factory=list)
    pieces: dict[bytes, Piece] = field(default_factory=dict)
    before: dict[Place, Envelope] = field(default_factory=dict)
    """The redactions of what is redacted, and what state events replaced."""
    bundles: dict[Place, Bundle] = field(default_factory=dict)
    """What relates to the events of a limited timeline."""
    receipt_events: dict[tuple[RoomNo, Seq], bytes] = field(default_factory=dict)
    """The ids of the events at which receipts stand, and of the roots of threads."""
    names: dict[tuple[RoomNo, MemberRef], str] = field(default_factory=dict)
    windows: dict[RoomNo, list[Record]] = field(default_factory=dict)
    """What the tail told of each room."""

    def readable(self, news: News) -> Iterable[ReceiptRow]:
        """Those of a room's receipts that the filter does not hide, as far as can be told without names."""
        if not self.ask.filter.shows_receipts(news.own.room_id):
            return ()
        return (row for row in news.receipts if row.rtype != ReceiptType.FULLY_READ)

    @property
    def around(self) -> Around:
        return Around(pieces=self.pieces, before=self.before, bundles=self.bundles)

    @property
    def told(self) -> Pos:
        return Pos(-1) if self.since is None else self.since

    @property
    def in_tail(self) -> bool:
        return self.since is not None and not self.ask.full_state
