"""`POST /rooms/{roomId}/receipt/{receiptType}/{eventId}` and `POST /rooms/{roomId}/read_markers`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from falcon.asgi import Request, Response
from msgspec import UNSET, Struct, UnsetType, field
from msgspec.json import Decoder

from hutong.errors import BadParam
from hutong.http.call import Call, HotResource, Outcome
from hutong.http.request import EMPTY, Caller, body, caller, decode
from hutong.ids import CellNo
from hutong.receipts.service import Receipts

RECEIPT_PATH = "/_matrix/client/v3/rooms/{room_id}/receipt/{receipt_type}/{event_id}"
MARKERS_PATH = "/_matrix/client/v3/rooms/{room_id}/read_markers"


class ReceiptBody(Struct, frozen=True):
    thread_id: Any = UNSET  # of whatever type: the specification has its own error for one that is no text


class MarkersBody(Struct, frozen=True):
    fully_read: str | UnsetType = field(name="m.fully_read", default=UNSET)
    read: str | UnsetType = field(name="m.read", default=UNSET)
    private: str | UnsetType = field(name="m.read.private", default=UNSET)


RECEIPT_BODY = Decoder(ReceiptBody)
MARKERS_BODY = Decoder(MarkersBody)


@dataclass(frozen=True)
class ReceiptEndpoint(HotResource):
    receipts: Mapping[CellNo, Receipts]

    def hot_post(self, call: Call) -> Outcome:
        thread_id = decode(call.body, RECEIPT_BODY).thread_id
        if thread_id is not UNSET and not isinstance(thread_id, str):
            raise BadParam("thread_id", "must be a text: main, or the id of an event")
        return self._mark(call.caller, None if thread_id is UNSET else thread_id, **call.path)

    async def _mark(self, who: Caller, thread: str | None, room_id: str, receipt_type: str, event_id: str) -> bytes:
        await self.receipts[who.cell].mark(who.account, room_id, receipt_type, event_id, thread)
        return EMPTY


@dataclass(frozen=True)
class MarkersEndpoint:
    receipts: Mapping[CellNo, Receipts]

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        asked = await body(req, MARKERS_BODY)
        who = caller(req)
        markers = {"m.fully_read": asked.fully_read, "m.read": asked.read, "m.read.private": asked.private}
        given = {type: event_id for type, event_id in markers.items() if event_id is not UNSET}
        await self.receipts[who.cell].mark_all(who.account, room_id, given)
        resp.data = EMPTY


def routes(receipts: Mapping[CellNo, Receipts]) -> list[tuple[str, object]]:
    return [(RECEIPT_PATH, ReceiptEndpoint(receipts)), (MARKERS_PATH, MarkersEndpoint(receipts))]
