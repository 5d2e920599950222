"""`/keys/...`: decode, call, encode."""

from collections.abc import Mapping
from dataclasses import dataclass

from falcon.asgi import Request, Response
from msgspec import Struct, json
from msgspec.json import Decoder

from hutong.accounts.homes import Homes
from hutong.accounts.interactive import Auth, Interactive
from hutong.accounts.proof import proven
from hutong.errors import MissingParam
from hutong.http.request import EMPTY, JSON_BYTES_MAX, caller, decode, query_text, raw_object
from hutong.ids import CellNo
from hutong.keys.changes import Changes
from hutong.keys.cross_signing import CrossSigning
from hutong.keys.model import ClaimBody, CrossSigningBody, QueryBody, SignaturesBody, UploadBody
from hutong.keys.service import Keys

V3 = "/_matrix/client/v3/keys"


class AuthBody(Struct, frozen=True):
    auth: Auth | None = None


UPLOAD, QUERY, CLAIM = Decoder(UploadBody), Decoder(QueryBody), Decoder(ClaimBody)
CROSS_SIGNING, SIGNATURES, AUTH = Decoder(CrossSigningBody), Decoder(SignaturesBody), Decoder(AuthBody)


@dataclass(frozen=True)
class CellKeys:
    """What one cell does for the keys of its people."""

    keys: Keys
    cross_signing: CrossSigning
    changes: Changes


@dataclass(frozen=True)
class UploadEndpoint:
    """POST /keys/upload."""

    cells: Mapping[CellNo, CellKeys]

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        asked = decode(await raw_object(req, JSON_BYTES_MAX), UPLOAD)
        counts = await self.cells[who.cell].keys.upload(who.account, who.device, asked)
        resp.data = json.encode({"one_time_key_counts": counts})


@dataclass(frozen=True)
class QueryEndpoint:
    """POST /keys/query."""

    cells: Mapping[CellNo, CellKeys]

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        asked = decode(await raw_object(req, JSON_BYTES_MAX), QUERY)
        found = await self.cells[who.cell].keys.query(who.account, asked.device_keys, asked.timeout)
        resp.data = json.encode(found)


@dataclass(frozen=True)
class ClaimEndpoint:
    """POST /keys/claim."""

    cells: Mapping[CellNo, CellKeys]

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        asked = decode(await raw_object(req, JSON_BYTES_MAX), CLAIM)
        resp.data = json.encode(await self.cells[who.cell].keys.claim(asked.one_time_keys, asked.timeout))


@dataclass(frozen=True)
class ChangesEndpoint:
    """GET /keys/changes."""

    cells: Mapping[CellNo, CellKeys]

    async def on_get(self, req: Request, resp: Response) -> None:
        who = caller(req)
        start, end = query_text(req, "from"), query_text(req, "to")
        if not start or not end:
            raise MissingParam("to" if start else "from")
        changed = await self.cells[who.cell].changes.between(who.account, start, end)
        resp.data = json.encode({"changed": changed, "left": []})


@dataclass(frozen=True)
class CrossSigningEndpoint:
    """POST /keys/device_signing/upload."""

    cells: Mapping[CellNo, CellKeys]
    homes: Homes
    interactive: Interactive

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        raw = await raw_object(req)
        cross_signing = self.cells[who.cell].cross_signing
        change = await cross_signing.change(who.account, decode(raw, CROSS_SIGNING))

        async def work() -> bytes:
            await cross_signing.apply(who.account, change)
            return EMPTY

        if not change.proof:
            resp.data = await work()
            return
        auth = decode(raw, AUTH).auth
        parameters = json.encode({usage.text: key for usage, key in change.keys.items()}, order="sorted")
        home = self.homes.of(who)
        resp.data = await proven(self.interactive, home, who, "cross-signing", parameters, auth, work)


@dataclass(frozen=True)
class SignaturesEndpoint:
    """POST /keys/signatures/upload."""

    cells: Mapping[CellNo, CellKeys]

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        signed = decode(await raw_object(req, JSON_BYTES_MAX), SIGNATURES)
        resp.data = json.encode(await self.cells[who.cell].cross_signing.sign(who.account, signed))


def routes(cells: Mapping[CellNo, CellKeys], homes: Homes, interactive: Interactive) -> list[tuple[str, object]]:
    return [
        (f"{V3}/upload", UploadEndpoint(cells)),
        (f"{V3}/query", QueryEndpoint(cells)),
        (f"{V3}/claim", ClaimEndpoint(cells)),
        (f"{V3}/changes", ChangesEndpoint(cells)),
        (f"{V3}/device_signing/upload", CrossSigningEndpoint(cells, homes, interactive)),
        (f"{V3}/signatures/upload", SignaturesEndpoint(cells)),
    ]
