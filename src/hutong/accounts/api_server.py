"""What the server says about itself, and the lists that are empty here."""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hmac import digest

from msgspec import json

from hutong.config import Config, Turn
from hutong.errors import NotFound
from hutong.http.request import EMPTY, Request, Response

SPECIFICATION = tuple(f"v1.{minor}" for minor in range(1, 20))
"""The versions of the Client-Server API whose endpoints, as far as they are served, behave as written there."""

NO_BRIDGES = "no network other than Matrix is bridged here"
NO_MEDIA = b'{"m.upload.size":0}'
"""No file can be uploaded, and a client that knows says so before it tries."""

_HOST = re.compile(r"[A-Za-z0-9.-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


@dataclass(frozen=True)
class Fixed:
    """Answers GET with the same bytes every time."""

    data: bytes
    auth: bool | str = True

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = self.data


@dataclass(frozen=True)
class Nothing:
    """Answers GET by saying that there is none of what is asked for. `why` names it."""

    why: str

    async def on_get(self, req: Request, resp: Response, **_: str) -> None:
        raise NotFound(self.why)


@dataclass(frozen=True)
class TurnEndpoint:
    """GET /voip/turnServer: who may use the server that relays calls, for a while; `{}` when there is none.

    The name in the credentials is random: the relay learns nobody's.
    Source: draft-uberti-behave-turn-rest, which TURN servers implement under the name of a shared secret.
    """

    turn: Turn | None
    now: Callable[[], float]
    random: Callable[[int], bytes]

    async def on_get(self, req: Request, resp: Response) -> None:
        if self.turn is None:
            resp.data = EMPTY
            return
        username = f"{int(self.now()) + self.turn.lifetime_s}:{self.random(8).hex()}"
        password = b64encode(digest(self.turn.secret.encode(), username.encode(), "sha1")).decode()
        resp.data = json.encode(
            {"username": username, "password": password, "uris": self.turn.uris, "ttl": self.turn.lifetime_s}
        )


@dataclass(frozen=True)
class WellKnownEndpoint:
    """GET /.well-known/matrix/client: where the server is, and which regions a newcomer may choose from."""

    config: Config
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        base_url = self.config.public_url
        if base_url is None:
            host = req.get_header("host") or ""
            if not _HOST.fullmatch(host):
                raise NotFound("host: the header does not say under which name this server was reached")
            base_url = f"{req.scheme}://{host}"
        regions = [{"name": region.name, "server_name": region.server_name} for region in self.config.local_regions]
        resp.data = json.encode({"m.homeserver": {"base_url": base_url}, "hutong.regions": regions})


def routes(
    config: Config,
    room_versions: Sequence[str],
    default_room_version: str,
    unstable_features: Mapping[str, bool],
    now: Callable[[], float],
    random: Callable[[int], bytes],
) -> list[tuple[str, object]]:
    v3 = "/_matrix/client/v3"
    capabilities = {
        "m.change_password": {"enabled": True},
        "m.room_versions": {
            "default": default_room_version,
            "available": dict.fromkeys(room_versions, "stable"),
        },
        "m.set_displayname": {"enabled": True},
        "m.set_avatar_url": {"enabled": True},
        "m.profile_fields": {"enabled": True},
        "m.3pid_changes": {"enabled": False},
        "m.get_login_token": {"enabled": False},
        "m.forget_forced_upon_leave": {"enabled": False},
    }
    versions = {"versions": SPECIFICATION, "unstable_features": dict(unstable_features)}
    return [
        ("/.well-known/matrix/client", WellKnownEndpoint(config)),
        ("/_matrix/client/versions", Fixed(json.encode(versions), auth="optional")),
        (f"{v3}/capabilities", Fixed(json.encode({"capabilities": capabilities}))),
        (f"{v3}/voip/turnServer", TurnEndpoint(config.turn, now, random)),
        (f"{v3}/thirdparty/protocols", Fixed(b"{}")),
        (f"{v3}/thirdparty/protocol/{{protocol}}", Nothing(NO_BRIDGES)),
        (f"{v3}/thirdparty/location", Nothing(NO_BRIDGES)),
        (f"{v3}/thirdparty/location/{{protocol}}", Nothing(NO_BRIDGES)),
        (f"{v3}/thirdparty/user", Nothing(NO_BRIDGES)),
        (f"{v3}/thirdparty/user/{{protocol}}", Nothing(NO_BRIDGES)),
        ("/_matrix/client/v1/media/config", Fixed(NO_MEDIA)),
        ("/_matrix/media/v3/config", Fixed(NO_MEDIA)),
        (f"{v3}/room_keys/version", Nothing("there is no backup of keys on this server")),
        (f"{v3}/account/3pid", Fixed(b'{"threepids":[]}')),
        (f"{v3}/pushers", Fixed(b'{"pushers":[]}')),
    ]
