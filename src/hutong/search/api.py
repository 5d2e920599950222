"""`POST /user_directory/search`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from falcon.asgi import Request, Response
from msgspec import Meta, Struct, json
from msgspec.json import Decoder

from hutong.http.request import body, caller
from hutong.ids import CellNo
from hutong.rooms.service import Rooms
from hutong.search.service import PeopleSearch, ProfileOfAnybody

PATH = "/_matrix/client/v3/user_directory/search"
LIMIT_DEFAULT: Final = 10
LIMIT_MAX: Final = 100


class SearchBody(Struct, frozen=True):
    search_term: str
    limit: Annotated[int, Meta(ge=0)] = LIMIT_DEFAULT


BODY = Decoder(SearchBody)


@dataclass(frozen=True)
class PeopleSearchEndpoint:
    cells: Mapping[CellNo, PeopleSearch]

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        asked = await body(req, BODY)
        limit = min(asked.limit, LIMIT_MAX)
        found, limited = await self.cells[who.cell].find(who, asked.search_term, limit)
        resp.data = json.encode({"results": found, "limited": limited})


def routes(rooms: Mapping[CellNo, Rooms], profile: ProfileOfAnybody) -> list[tuple[str, object]]:
    cells = {number: PeopleSearch(each, profile) for number, each in rooms.items()}
    return [(PATH, PeopleSearchEndpoint(cells))]
