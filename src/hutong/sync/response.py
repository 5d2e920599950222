"""The answer as bytes: fragments that all readers share, around them what is each reader's own. No I/O.

Source: Client-Server API v1.19, GET /sync; schemas of state and timeline batches, m.receipt, m.typing, m.fully_read.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final

import msgspec

from hutong.cells.codes import MAIN_THREAD, ReceiptType
from hutong.cells.records import Event, Words
from hutong.cells.unread_reads import MAIN, UnreadRow
from hutong.ids import MemberRef, RoomNo, Seq, event_id_text
from hutong.rooms import render, unsigned
from hutong.rooms.event_filter import Matcher
from hutong.rooms.pieces import Piece
from hutong.rooms.unsigned import Eye, TxnText
from hutong.sync import timeline, unread
from hutong.sync.look import Look
from hutong.sync.model import News, Section

_encode = msgspec.json.Encoder().encode
_RECEIPT_TEXTS: Final = {ReceiptType.READ: "m.read", ReceiptType.PRIVATE: "m.read.private"}

RoomToken = Callable[[RoomNo, int], str]


class Assembler:
    """Puts one look together."""

    def __init__(self, look: Look, now_ms: int, transaction: TxnText, room_token: RoomToken) -> None:
        self._look = look
        self._around = look.around
        self._now_ms = now_ms
        self._transaction = transaction
        self._room_token = room_token
        self._next_batch = ""
        self.telling = False
        """Whether there is anything to tell."""

    def answer(self, next_batch: str, keys: bytes) -> bytes:
        """The whole body; afterwards `telling` is known. `keys`: what it says of the device's keys."""
        self._next_batch = next_batch
        sections: dict[Section, list[bytes]] = {}
        for news in self._look.news:
            told = self._room(news)
            if told is not None:
                sections.setdefault(news.section, []).append(_encode(news.own.room_id) + b":" + told)
        parts = [b'"next_batch":' + _encode(next_batch)]
        stored = self._global_account_data()
        if stored:
            parts.append(b'"account_data":{"events":[' + b",".join(stored) + b"]}")
        parts.append(keys)
        if sections:
            rooms = (b'"' + section.value + b'":{' + b",".join(told) + b"}" for section, told in sections.items())
            parts.append(b'"rooms":{' + b",".join(rooms) + b"}")
        self.telling = bool(sections or stored)
        return b"{" + b",".join(parts) + b"}"

    # One room.

    def _room(self, news: News) -> bytes | None:
        if news.section is Section.INVITE:
            return self._before_joining(news, b"invite_state")
        if news.section is Section.KNOCK:
            return self._before_joining(news, b"knock_state")
        events = self._events(news, news.events)
        state = self._events(news, news.state, self._look.ask.filter.state)
        stored = self._room_account_data(news)
        parts: list[bytes] = []
        if events or news.limited or news.fresh or news.full_state or news.section is Section.LEAVE:
            parts.append(self._timeline(news, events))
        if state:
            parts.append(self._state(state))
        if stored:
            parts.append(b'"account_data":{"events":[' + b",".join(stored) + b"]}")
        if news.section is Section.LEAVE:
            if self._look.ask.state_after and not state:
                parts.append(self._state(state))
            return b"{" + b",".join(parts) + b"}"
        ephemeral = self._ephemeral(news)
        if ephemeral:
            parts.append(b'"ephemeral":{"events":[' + b",".join(ephemeral) + b"]}")
        if not parts and not self._cleared(news):
            return None
        if self._look.ask.state_after and not state:
            parts.append(self._state(state))
        if news.summary is not None:
            parts.append(self._summary(news))
        if news.unread is not None:
            parts += self._unread(news, news.unread)
        return b"{" + b",".join(parts) + b"}"

    def _state(self, events: list[bytes]) -> bytes:
        key = b'"state_after"' if self._look.ask.state_after else b'"state"'
        return key + b':{"events":[' + b",".join(events) + b"]}"

    def _unread(self, news: News, row: UnreadRow) -> list[bytes]:
        if not self._look.ask.filter.timeline.threads:
            return [b'"unread_notifications":' + _counts(unread.counts(row))]
        lines = unread.by_line(row)
        parts = [b'"unread_notifications":' + _counts(lines.pop(MAIN))]
        threads = [
            b'"' + event_id_text(root).encode() + b'":' + _counts(counts)
            for line, counts in lines.items()
            if (root := self._look.receipt_events.get((news.own.room, Seq(line)))) is not None
        ]
        if threads:
            parts.append(b'"unread_thread_notifications":{' + b",".join(threads) + b"}")
        return parts

    def _cleared(self, news: News) -> bool:
        """Whether an own marker moved: the counts are news even when the receipt itself is filtered out."""
        return any(row.ref == news.own.ref for row in news.receipts)

    def _before_joining(self, news: News, key: bytes) -> bytes:
        """The stripped state. When the room's home is away, only the event that invites the reader, which is here."""
        events = list(news.stripped) or [
            render.stripped(
                Words(piece.ts_ms, piece.type, piece.state_key, piece.content), piece.sender, piece.state_key
            )
            for event in news.scanned
            if (piece := self._look.pieces.get(event.env.event_id)) is not None and piece.state_key is not None
        ]
        return b'{"' + key + b'":{"events":[' + b",".join(events) + b"]}}"

    def _timeline(self, news: News, events: list[bytes]) -> bytes:
        before = news.start - 1 if news.events else news.scanned[-1].env.seq if news.scanned else None
        parts = [b'"events":[' + b",".join(events) + b"]", b'"limited":true' if news.limited else b'"limited":false']
        if before is not None and before >= 0 and not news.own_only:
            parts.append(b'"prev_batch":' + _encode(self._room_token(news.own.room, before)))
        elif news.limited:  # nothing of what was read passed the filter: what may pass lies before this answer's end
            parts.append(b'"prev_batch":' + _encode(self._next_batch))
        return b'"timeline":{' + b",".join(parts) + b"}"

    def _events(self, news: News, events: Iterable[Event], matcher: Matcher | None = None) -> list[bytes]:
        """Events of the timeline, or with a `matcher` of the state."""
        look = self._look
        eye = Eye(ref=news.own.ref, device=look.session.device, sees=partial(timeline.sees, news))
        if matcher is None:
            eye = replace(eye, membership_at=partial(timeline.membership_at, news))
        write = unsigned.Writer(eye, self._around, self._now_ms, self._transaction).event
        shown = []
        for event in events:
            if matcher is not None:
                piece = look.pieces.get(event.env.event_id)
                if piece is None or not self._belongs(matcher, piece):
                    continue
            whole = write(event.env)
            if whole is not None:
                shown.append(whole)
        return shown if look.ask.filter.fields is None else [look.ask.filter.cut(whole) for whole in shown]

    def _belongs(self, matcher: Matcher, piece: Piece) -> bool:
        """Whether the filter lets a piece of state pass. A key that went with its author's words is no key."""
        if piece.state_key is None:
            return False
        return matcher.all or matcher.admits(piece.type, piece.sender, piece.content)

    def _summary(self, news: News) -> bytes:
        assert news.summary is not None
        heroes = [name for ref in news.heroes if (name := self._name(news, ref)) is not None]
        return b'"summary":{"m.heroes":%b,"m.joined_member_count":%d,"m.invited_member_count":%d}' % (
            _encode(heroes),
            news.summary.joined,
            news.summary.invited,
        )

    # What is not in the timeline.

    def _ephemeral(self, news: News) -> list[bytes]:
        """Those who type and who read are the senders that the filter speaks of."""
        matcher = self._look.ask.filter.ephemeral
        events: list[bytes] = []
        if matcher.nothing or matcher.wants_url or not matcher.admits_room(news.own.room_id):
            return events
        if news.typists is not None and matcher.types.admits("m.typing"):
            names = [name for ref in news.typists if (name := self._name(news, ref)) and matcher.admits_sender(name)]
            events.append(b'{"type":"m.typing","content":{"user_ids":' + _encode(names) + b"}}")
        if matcher.types.admits("m.receipt"):
            receipts = self._receipts(news)
            if receipts:
                events.append(b'{"type":"m.receipt","content":' + _encode(receipts) + b"}")
        return events

    def _name(self, news: News, ref: MemberRef) -> str | None:
        return self._look.names.get((news.own.room, ref))

    def _receipts(self, news: News) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
        matcher = self._look.ask.filter.ephemeral
        found: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
        room = news.own.room
        for row in news.receipts:
            text = _RECEIPT_TEXTS.get(ReceiptType(row.rtype))
            event_id = self._look.receipt_events.get((room, row.seq))
            name = self._name(news, row.ref)
            if text is None or event_id is None or name is None or not matcher.admits_sender(name):
                continue
            receipt: dict[str, object] = {"ts": row.minute * 60_000}
            if row.thread == MAIN_THREAD:
                receipt["thread_id"] = "main"
            elif row.thread > 0:
                root = self._look.receipt_events.get((room, Seq(row.thread)))
                if root is None:
                    continue
                receipt["thread_id"] = event_id_text(root)
            found.setdefault(event_id_text(event_id), {}).setdefault(text, {})[name] = receipt
        return found

    def _room_account_data(self, news: News) -> list[bytes]:
        matcher = self._look.ask.filter.room_account_data
        if matcher.nothing or not matcher.admits_room(news.own.room_id):
            return []
        stored = [
            b'{"type":' + _encode(type) + b',"content":' + content + b"}"
            for room, type, content in self._look.account_data
            if room == news.own.room and matcher.admits(type, self._look.me, content)
        ]
        for row in news.receipts:
            event_id = self._look.receipt_events.get((news.own.room, row.seq))
            if (
                row.rtype == ReceiptType.FULLY_READ
                and event_id
                and matcher.admits("m.fully_read", self._look.me, b"{}")
            ):
                text = event_id_text(event_id).encode()
                stored.append(b'{"type":"m.fully_read","content":{"event_id":"' + text + b'"}}')
        return stored

    def _global_account_data(self) -> list[bytes]:
        matcher = self._look.ask.filter.account_data
        return [
            b'{"type":' + _encode(type) + b',"content":' + content + b"}"
            for room, type, content in self._look.account_data
            if room == 0 and not matcher.nothing and matcher.admits(type, self._look.me, content)
        ]


def _counts(counts: unread.Counts) -> bytes:
    return b'{"notification_count":%d,"highlight_count":%d}' % (counts.notifications, counts.highlights)
