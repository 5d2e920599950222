"""`POST /rooms/{roomId}/receipt/{receiptType}/{eventId}` and `POST /rooms/{roomId}/read_markers`."""

from collections.abc import Mapping
from dataclasses import dataclass

from falcon.asgi import Request, Response
from msgspec import Struct, field
from msgspec.json import Decoder

from hutong.http.request import EMPTY, body, caller
from hutong.ids import CellNo
from hutong.receipts.service import Receipts

RECEIPT_PATH = "/_matrix/client/v3/rooms/{room_id}/receipt/{receipt_type}/{event_id}"
MARKERS_PATH = "/_matrix/client/v3/rooms/{room_id}/read_markers"


class ReceiptBody(Struct, frozen=True):
    thread_id: str | None = None


class MarkersBody(Struct, frozen=True):
    fully_read: str | None = field(name="m.fully_read", default=None)
    read: str | None = field(name="m.read", default=None)
    private: str | None = field(name="m.read.private", default=None)


RECEIPT_BODY = Decoder(ReceiptBody)
MARKERS_BODY = Decoder(MarkersBody)


@dataclass(frozen=True)
class ReceiptEndpoint:
    receipts: Mapping[CellNo, Receipts]

    async def on_post(self, req: Request, resp: Response, room_id: str, receipt_type: str, event_id: str) -> None:
        asked = await body(req, RECEIPT_BODY)
        who = caller(req)
        await self.receipts[who.cell].mark(who.account, room_id, receipt_type, event_id, asked.thread_id)
        resp.data = EMPTY


@dataclass(frozen=True)
class MarkersEndpoint:
    receipts: Mapping[CellNo, Receipts]

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        asked = await body(req, MARKERS_BODY)
        who = caller(req)
        receipts = self.receipts[who.cell]
        for type, event_id in (
            ("m.fully_read", asked.fully_read),
            ("m.read", asked.read),
            ("m.read.private", asked.private),
        ):
            if event_id is not None:
                await receipts.mark(who.account, room_id, type, event_id)
        resp.data = EMPTY


def routes(receipts: Mapping[CellNo, Receipts]) -> list[tuple[str, object]]:
    return [(RECEIPT_PATH, ReceiptEndpoint(receipts)), (MARKERS_PATH, MarkersEndpoint(receipts))]
