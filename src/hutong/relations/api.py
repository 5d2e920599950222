"""The endpoints of relations: decode, call, encode."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from falcon.asgi import Request, Response

from hutong.cells.relation_reads import DEPTH_MAX
from hutong.http.request import caller, query_choice, query_flag, query_int, query_text
from hutong.ids import CellNo
from hutong.relations.service import PAGE_MAX, Asked, PageOf, Relations

ROOM = "/_matrix/client/v1/rooms/{room_id}"
PAGE_DEFAULT = 20
Cells = Mapping[CellNo, Relations]
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class ChildrenEndpoint:
    """What relates to an event, in any way, in one way, or in one way by events of one type."""

    cells: Cells

    async def on_get(
        self, req: Request, resp: Response, room_id: str, event_id: str, rel_type: str | None = None,
        event_type: str | None = None,
    ) -> None:  # fmt: skip
        who = caller(req)
        recurse = query_text(req, "recurse") is not None
        asked = Asked(
            relation=rel_type,
            type=event_type,
            recurse=query_flag(req, "recurse"),
            start=query_text(req, "from"),
            end=query_text(req, "to"),
            backwards=query_choice(req, "dir", ("b", "f"), "b") == "b",
            limit=max(query_int(req, "limit", PAGE_DEFAULT, 0, PAGE_MAX), 1),
        )
        page = await self.cells[who.cell].children(who, room_id, event_id, asked)
        depth = b"" if not recurse else b',"recursion_depth":%d' % (DEPTH_MAX if asked.recurse else 1)
        resp.data = _page(page, depth)


@dataclass(frozen=True)
class ThreadsEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        participated = query_choice(req, "include", ("all", "participated"), "all") == "participated"
        limit = query_int(req, "limit", PAGE_DEFAULT, 1, PAGE_MAX)
        start = query_text(req, "from")
        resp.data = _page(await self.cells[who.cell].threads(who, room_id, start, limit, participated=participated))


def _page(page: PageOf, more: bytes = b"") -> bytes:
    parts = [b'{"chunk":[' + b",".join(page.chunk) + b"]"]
    if page.next is not None:
        parts.append(b',"next_batch":' + _encode(page.next))
    if page.previous is not None:
        parts.append(b',"prev_batch":' + _encode(page.previous))
    return b"".join((*parts, more, b"}"))


def routes(cells: Cells) -> list[tuple[str, object]]:
    children = ChildrenEndpoint(cells)
    return [
        (ROOM + "/relations/{event_id}", children),
        (ROOM + "/relations/{event_id}/{rel_type}", children),
        (ROOM + "/relations/{event_id}/{rel_type}/{event_type}", children),
        (ROOM + "/threads", ThreadsEndpoint(cells)),
    ]
