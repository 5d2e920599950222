"""The endpoints of the directory: decode, call, encode. Client-Server API v1.19, "Room aliases", "Published room
directory"."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from falcon.asgi import Request, Response
from msgspec.json import Decoder

from hutong.cells.cell import Cell
from hutong.cells.directory_messages import Wanted
from hutong.cells.view import raw_room_id
from hutong.directory.aliases import Aliases
from hutong.directory.listing import ListTokens
from hutong.directory.model import AliasBody, ListBody, VisibilityBody
from hutong.directory.opening import Opening
from hutong.directory.published import PublicList, PublishedRooms
from hutong.directory.store import DirectoryStore
from hutong.errors import BadParam
from hutong.http.request import EMPTY, body, caller, caller_or_none, query_int, query_text, request_region
from hutong.ids import CellNo
from hutong.rooms.access import Access

V3 = "/_matrix/client/v3"
LIMIT_DEFAULT, LIMIT_MAX = 100, 500
SERVER_CHARS_MAX, SINCE_CHARS_MAX = 255, 1_000
ALIAS_BODY, VISIBILITY_BODY, LIST_BODY = Decoder(AliasBody), Decoder(VisibilityBody), Decoder(ListBody)
_encode = msgspec.json.Encoder().encode
READ_BY_ALL = {"GET": "optional"}


@dataclass(frozen=True)
class CellDirectory:
    """What one cell does for those who look for rooms."""

    aliases: Aliases
    published: PublishedRooms
    opening: Opening

    @classmethod
    def of(cls, cell: Cell, access: Access, token_key: bytes) -> "CellDirectory":
        """The directory of `cell`, which answers other cells from now on. `token_key` is secret and lasts."""
        store = DirectoryStore(cell.pool)
        aliases = Aliases(cell, store, access)
        published = PublishedRooms(cell, store, access, ListTokens(token_key))
        aliases.serve()
        published.serve()
        return cls(aliases, published, Opening(cell, aliases, published))


@dataclass(frozen=True)
class Cells:
    """`asking`: the cell that asks for somebody who has not said who they are, by the region of the request."""

    directories: Mapping[CellNo, CellDirectory]
    asking: Callable[[str | None], CellNo]

    def of(self, req: Request) -> CellDirectory:
        who = caller_or_none(req)
        return self.directories[self.asking(request_region(req)) if who is None else who.cell]


@dataclass(frozen=True)
class AliasEndpoint:
    """GET, PUT and DELETE /directory/room/{roomAlias}."""

    cells: Cells
    auth = READ_BY_ALL

    async def on_get(self, req: Request, resp: Response, room_alias: str) -> None:
        room_id, servers = await self.cells.of(req).aliases.resolve(room_alias)
        resp.data = _encode({"room_id": room_id, "servers": servers})

    async def on_put(self, req: Request, resp: Response, room_alias: str) -> None:
        wanted = await body(req, ALIAS_BODY)
        if raw_room_id(wanted.room_id) is None:
            raise BadParam("room_id", "is not a room id of this server")
        await self.cells.of(req).aliases.give(caller(req), room_alias, wanted.room_id)
        resp.data = EMPTY

    async def on_delete(self, req: Request, resp: Response, room_alias: str) -> None:
        await self.cells.of(req).aliases.take(caller(req), room_alias)
        resp.data = EMPTY


@dataclass(frozen=True)
class RoomAliasesEndpoint:
    """GET /rooms/{roomId}/aliases."""

    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str) -> None:
        resp.data = _encode({"aliases": await self.cells.of(req).aliases.of_room(caller(req), room_id)})


@dataclass(frozen=True)
class VisibilityEndpoint:
    """GET and PUT /directory/list/room/{roomId}."""

    cells: Cells
    auth = READ_BY_ALL

    async def on_get(self, req: Request, resp: Response, room_id: str) -> None:
        public = await self.cells.of(req).published.is_public(room_id)
        resp.data = _encode({"visibility": "public" if public else "private"})

    async def on_put(self, req: Request, resp: Response, room_id: str) -> None:
        wanted = await body(req, VISIBILITY_BODY)
        public = wanted.visibility == "public"
        await self.cells.of(req).published.publish(caller(req), room_id, public=public)
        resp.data = EMPTY


@dataclass(frozen=True)
class PublicRoomsEndpoint:
    """GET and POST /publicRooms."""

    cells: Cells
    auth = READ_BY_ALL

    async def on_get(self, req: Request, resp: Response) -> None:
        limit = query_int(req, "limit", LIMIT_DEFAULT, 0, LIMIT_MAX)
        since = query_text(req, "since", max=SINCE_CHARS_MAX)
        resp.data = await self._page(req, Wanted(), since, limit)

    async def on_post(self, req: Request, resp: Response) -> None:
        wanted = await body(req, LIST_BODY)
        if wanted.limit is not None and wanted.limit < 0:
            raise BadParam("limit", "is below 0")
        if wanted.since is not None and len(wanted.since) > SINCE_CHARS_MAX:
            raise BadParam("since", f"has more than {SINCE_CHARS_MAX:,} characters")
        if wanted.third_party_instance_id is not None:
            rest = (
                "cannot be given with include_all_networks" if wanted.include_all_networks else "names no network here"
            )
            raise BadParam("third_party_instance_id", rest)
        search = wanted.filter
        asked = Wanted() if search is None else Wanted(term=search.generic_search_term, room_types=search.room_types)
        resp.data = await self._page(req, asked, wanted.since, wanted.limit)

    async def _page(self, req: Request, wanted: Wanted, since: str | None, limit: int | None) -> bytes:
        server = query_text(req, "server", max=SERVER_CHARS_MAX)
        most = min(limit or LIMIT_DEFAULT, LIMIT_MAX)  # 0 is how some clients say that they have no wish
        return _shown(await self.cells.of(req).published.look(server, wanted, since, most))


def _shown(found: PublicList) -> bytes:
    shown = {"chunk": found.page.rooms, "total_room_count_estimate": found.page.total}
    tokens = {"next_batch": found.next_batch, "prev_batch": found.prev_batch}
    away = {"hutong.away": found.away} if found.away else {}
    return _encode(shown | {name: token for name, token in tokens.items() if token is not None} | away)


def routes(
    directories: Mapping[CellNo, CellDirectory], asking: Callable[[str | None], CellNo]
) -> list[tuple[str, object]]:
    cells = Cells(directories, asking)
    return [
        (V3 + "/directory/room/{room_alias}", AliasEndpoint(cells)),
        (V3 + "/directory/list/room/{room_id}", VisibilityEndpoint(cells)),
        (V3 + "/publicRooms", PublicRoomsEndpoint(cells)),
        (V3 + "/rooms/{room_id}/aliases", RoomAliasesEndpoint(cells)),
    ]
