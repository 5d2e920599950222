"""Devices, the password, and the end of an account: what asks people to prove once more who they are."""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct, json
from msgspec.json import Decoder

from hutong.accounts.homes import Homes
from hutong.accounts.interactive import Auth, Interactive
from hutong.accounts.model import Device
from hutong.accounts.proof import proven
from hutong.errors import BadParam
from hutong.http.request import EMPTY, Caller, Request, Response, body, caller

DEVICES_PER_REQUEST_MAX = 1_000
UNBOUND = b'{"id_server_unbind_result":"success"}'


class RenameBody(Struct, frozen=True):
    display_name: str | None = None


class DeleteBody(Struct, frozen=True):
    auth: Auth | None = None


class DeleteManyBody(Struct, frozen=True):
    devices: list[str]
    auth: Auth | None = None


class PasswordBody(Struct, frozen=True):
    new_password: str
    logout_devices: bool | None = True
    auth: Auth | None = None


class DeactivateBody(Struct, frozen=True):
    erase: bool | None = False
    id_server: str | None = None
    auth: Auth | None = None


RENAME = Decoder(RenameBody)
DELETE = Decoder(DeleteBody)
DELETE_MANY = Decoder(DeleteManyBody)
PASSWORD = Decoder(PasswordBody)
DEACTIVATE = Decoder(DeactivateBody)


@dataclass(frozen=True)
class DevicesEndpoint:
    """GET /devices."""

    homes: Homes

    async def on_get(self, req: Request, resp: Response) -> None:
        who = caller(req)
        devices = await self.homes.of(who).sessions.devices(who.account)
        resp.data = json.encode({"devices": [_shown(device) for device in devices]})


@dataclass(frozen=True)
class DeviceEndpoint:
    """GET, PUT and DELETE /devices/{deviceId}."""

    homes: Homes
    interactive: Interactive

    async def on_get(self, req: Request, resp: Response, device_id: str) -> None:
        who = caller(req)
        resp.data = json.encode(_shown(await self.homes.of(who).sessions.device(who.account, device_id)))

    async def on_put(self, req: Request, resp: Response, device_id: str) -> None:
        who = caller(req)
        asked = await body(req, RENAME)
        await self.homes.of(who).sessions.rename(who.account, device_id, asked.display_name)
        resp.data = EMPTY

    async def on_delete(self, req: Request, resp: Response, device_id: str) -> None:
        asked = await body(req, DELETE)
        resp.data = await _delete(self.homes, self.interactive, caller(req), [device_id], asked.auth)


@dataclass(frozen=True)
class DeleteDevicesEndpoint:
    """POST /delete_devices."""

    homes: Homes
    interactive: Interactive

    async def on_post(self, req: Request, resp: Response) -> None:
        asked = await body(req, DELETE_MANY)
        if len(asked.devices) > DEVICES_PER_REQUEST_MAX:
            raise BadParam("devices", f"has more than {DEVICES_PER_REQUEST_MAX:,} entries")
        resp.data = await _delete(self.homes, self.interactive, caller(req), asked.devices, asked.auth)


@dataclass(frozen=True)
class PasswordEndpoint:
    """POST /account/password."""

    homes: Homes
    interactive: Interactive

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        home = self.homes.of(who)
        asked = await body(req, PASSWORD)
        home.accounts.check_password(asked.new_password, "new_password")

        async def work() -> bytes:
            await home.accounts.set_password(who.account, asked.new_password)
            if asked.logout_devices is not False:
                await home.sessions.end_all(who.account, but=who.device)
            return EMPTY

        parameters = json.encode([asked.new_password, asked.logout_devices])
        resp.data = await proven(self.interactive, home, who, "password", parameters, asked.auth, work)


@dataclass(frozen=True)
class DeactivateEndpoint:
    """POST /account/deactivate."""

    homes: Homes
    interactive: Interactive

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        home = self.homes.of(who)
        asked = await body(req, DEACTIVATE)

        async def work() -> bytes:
            await home.erasure.deactivate(who.account, erase=bool(asked.erase))
            return UNBOUND

        parameters = json.encode(asked.erase)
        resp.data = await proven(self.interactive, home, who, "deactivate", parameters, asked.auth, work)


def routes(homes: Homes, interactive: Interactive) -> list[tuple[str, object]]:
    v3 = "/_matrix/client/v3"
    return [
        (f"{v3}/devices", DevicesEndpoint(homes)),
        (f"{v3}/devices/{{device_id}}", DeviceEndpoint(homes, interactive)),
        (f"{v3}/delete_devices", DeleteDevicesEndpoint(homes, interactive)),
        (f"{v3}/account/password", PasswordEndpoint(homes, interactive)),
        (f"{v3}/account/deactivate", DeactivateEndpoint(homes, interactive)),
    ]


async def _delete(
    homes: Homes, interactive: Interactive, who: Caller, device_ids: list[str], auth: Auth | None
) -> bytes:
    home = homes.of(who)

    async def work() -> bytes:
        await home.sessions.end(who.account, [home.sessions.number(device_id) for device_id in device_ids])
        return EMPTY

    parameters = json.encode(sorted(device_ids))
    return await proven(interactive, home, who, "delete devices", parameters, auth, work)


def _shown(device: Device) -> dict[str, Any]:
    # No address is kept; some clients refuse a list without the field.
    shown: dict[str, Any] = {"device_id": device.device_id, "last_seen_ts": device.seen * 60_000, "last_seen_ip": ""}
    if device.name is not None:
        shown["display_name"] = device.name
    return shown
