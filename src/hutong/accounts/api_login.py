"""Registering, logging in and out, refreshing, and asking who one is."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct, field, json
from msgspec.json import Decoder

from hutong.accounts.homes import Homes
from hutong.accounts.interactive import Auth, Identifier, Interactive, Stage
from hutong.accounts.model import Login, TokenKind
from hutong.accounts.names import registrable
from hutong.accounts.service import UserInUse
from hutong.accounts.sessions import check_device_id, check_device_name
from hutong.config import Region
from hutong.errors import Forbidden, MatrixError, MissingParam, NotFound, UnknownToken
from hutong.http.request import (
    EMPTY,
    Request,
    Response,
    body,
    caller,
    only_while_wanted,
    query_choice,
    query_text,
    request_region,
)

_NAME_BYTES = 8
_TRIES_MAX = 5
WRONG_LOGIN = "user or password: wrong"


class RegisterBody(Struct, frozen=True):
    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    inhibit_login: bool | None = False
    refresh_token: bool | None = False
    region: str | None = field(name="hutong.region", default=None)
    auth: Auth | None = None


class LoginBody(Struct, frozen=True):
    type: str
    identifier: Identifier | None = None
    user: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    refresh_token: bool | None = False
    region: str | None = field(name="hutong.region", default=None)


class RefreshBody(Struct, frozen=True):
    refresh_token: str


REGISTER = Decoder(RegisterBody)
LOGIN = Decoder(LoginBody)
REFRESH = Decoder(RefreshBody)
LOGIN_FLOWS = json.encode({"flows": [{"type": Stage.PASSWORD}]})


@dataclass(frozen=True)
class RegisterEndpoint:
    """POST /register."""

    homes: Homes
    interactive: Interactive
    registration: Literal["open", "closed"]
    random: Callable[[int], bytes]
    auth = False

    async def on_post(self, req: Request, resp: Response) -> None:
        if query_choice(req, "kind", ("user", "guest"), "user") == "guest":
            raise MatrixError(
                "kind: this server has no guests; register as a user", status=403, errcode="M_GUEST_ACCESS_FORBIDDEN"
            )
        asked = await body(req, REGISTER)
        _check_open(self.registration)
        region = self.homes.region(asked.region, request_region(req))
        operation = f"register {region.name}"
        parameters = json.encode([asked.username, asked.password, asked.device_id, asked.inhibit_login])
        answer = self.interactive.answered(operation, parameters, asked.auth)
        if answer is None:
            await self._check(asked, region)

            async def work() -> bytes:
                return await self._register(asked, region)

            answer = await self.interactive.run(
                operation, parameters, Stage.DUMMY, asked.auth, _nothing_to_prove, work, bind=False
            )
        resp.data = answer

    async def _check(self, asked: RegisterBody, region: Region) -> None:
        """What can be known before authentication must be said before it."""
        if asked.device_id is not None:
            check_device_id(asked.device_id)
        check_device_name(asked.initial_device_display_name, "initial_device_display_name")
        if asked.username is not None:
            localpart = registrable(asked.username, region.server_name)
            await self.homes.serving(region, localpart).accounts.available(localpart)
        if asked.password is not None:
            self.homes.serving(region, "").accounts.check_password(asked.password)

    async def _register(self, asked: RegisterBody, region: Region) -> bytes:
        if asked.password is None:
            raise MissingParam("password")
        for attempt in range(_TRIES_MAX):
            name = asked.username
            if name is None:
                name = base64.b32encode(self.random(_NAME_BYTES)).decode().rstrip("=").lower()
            localpart = registrable(name, region.server_name)
            home = self.homes.serving(region, localpart)
            try:
                account = await home.accounts.register(localpart, asked.password)
            except UserInUse:
                if asked.username is not None or attempt == _TRIES_MAX - 1:
                    raise
                continue
            break
        user_id = f"@{localpart}:{region.server_name}"
        if asked.inhibit_login:
            return json.encode({"user_id": user_id})
        login = await home.sessions.start(
            account, asked.device_id, asked.initial_device_display_name, refreshable=bool(asked.refresh_token)
        )
        return _logged_in(user_id, login)


@dataclass(frozen=True)
class AvailableEndpoint:
    """GET /register/available."""

    homes: Homes
    registration: Literal["open", "closed"]
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        username = query_text(req, "username")
        if username is None:
            raise MissingParam("username")
        _check_open(self.registration)
        region = self.homes.region(query_text(req, "hutong.region"), request_region(req))
        localpart = registrable(username, region.server_name)
        await self.homes.serving(region, localpart).accounts.available(localpart)
        resp.data = b'{"available":true}'


@dataclass(frozen=True)
class LoginEndpoint:
    """GET and POST /login."""

    homes: Homes
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = LOGIN_FLOWS

    async def on_post(self, req: Request, resp: Response) -> None:
        asked = await body(req, LOGIN)
        if asked.type != Stage.PASSWORD:
            raise MatrixError(f"type: is {asked.type!r}, and this server knows {Stage.PASSWORD} only")
        user = _who(asked)
        if asked.password is None:
            raise MissingParam("password")
        if asked.device_id is not None:
            check_device_id(asked.device_id)
        check_device_name(asked.initial_device_display_name, "initial_device_display_name")
        localpart, candidates = self.homes.candidates(user, asked.region, request_region(req))
        # Each place where there is such a person costs one check of the password; nobody anywhere costs one as well.
        known = [home for home in candidates if await home.accounts.find(localpart) is not None]
        for home in known or candidates[:1]:
            with only_while_wanted(req):
                account = await home.accounts.prove(localpart, asked.password)
            if account is not None:
                login = await home.sessions.start(
                    account, asked.device_id, asked.initial_device_display_name, refreshable=bool(asked.refresh_token)
                )
                resp.data = _logged_in(f"@{localpart}:{home.region.server_name}", login)
                return
        raise Forbidden(WRONG_LOGIN)


@dataclass(frozen=True)
class RefreshEndpoint:
    """POST /refresh."""

    homes: Homes
    auth = False

    async def on_post(self, req: Request, resp: Response) -> None:
        token = (await body(req, REFRESH)).refresh_token
        try:
            home = self.homes.of_token(token, TokenKind.REFRESH)
        except UnknownToken:
            raise UnknownToken("refresh_token: unknown, or used already") from None
        resp.data = json.encode(_tokens(await home.sessions.refresh(token)))


@dataclass(frozen=True)
class LogoutEndpoint:
    """POST /logout."""

    homes: Homes

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        await self.homes.of(who).sessions.end(who.account, [who.device])
        resp.data = EMPTY


@dataclass(frozen=True)
class LogoutAllEndpoint:
    """POST /logout/all."""

    homes: Homes

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        await self.homes.of(who).sessions.end_all(who.account)
        resp.data = EMPTY


@dataclass(frozen=True)
class WhoamiEndpoint:
    """GET /account/whoami."""

    homes: Homes

    async def on_get(self, req: Request, resp: Response) -> None:
        who = caller(req)
        home = self.homes.of(who)
        try:
            user_id = await home.accounts.user_id(who.account)
            device = await home.sessions.device_of(who.account, who.device)
        except NotFound:
            raise UnknownToken from None  # logged out while this was on its way
        resp.data = json.encode(
            {
                "user_id": user_id,
                "device_id": device.device_id,
                "is_guest": False,
                "hutong.region": home.region.name,
            }
        )


def routes(
    homes: Homes, interactive: Interactive, registration: Literal["open", "closed"], random: Callable[[int], bytes]
) -> list[tuple[str, object]]:
    v3 = "/_matrix/client/v3"
    return [
        (f"{v3}/register", RegisterEndpoint(homes, interactive, registration, random)),
        (f"{v3}/register/available", AvailableEndpoint(homes, registration)),
        (f"{v3}/login", LoginEndpoint(homes)),
        (f"{v3}/refresh", RefreshEndpoint(homes)),
        (f"{v3}/logout", LogoutEndpoint(homes)),
        (f"{v3}/logout/all", LogoutAllEndpoint(homes)),
        (f"{v3}/account/whoami", WhoamiEndpoint(homes)),
    ]


def _check_open(registration: Literal["open", "closed"]) -> None:
    if registration == "closed":
        raise Forbidden("registration: is closed on this server; ask its operator for an account")


async def _nothing_to_prove(auth: Auth) -> None:
    """`m.login.dummy`."""


def _who(asked: LoginBody) -> str:
    if asked.identifier is None:
        if asked.user is None:
            raise MissingParam("identifier")
        return asked.user
    if asked.identifier.type != "m.id.user":
        raise Forbidden(f"identifier.type: this server knows nobody by {asked.identifier.type!r}, only by m.id.user")
    if asked.identifier.user is None:
        raise MissingParam("identifier.user")
    return asked.identifier.user


def _logged_in(user_id: str, login: Login) -> bytes:
    return json.encode({"user_id": user_id, "device_id": login.device_id, **_tokens(login)})


def _tokens(login: Login) -> dict[str, Any]:
    tokens: dict[str, Any] = {"access_token": login.access_token}
    if login.refresh_token is not None:
        tokens |= {"refresh_token": login.refresh_token, "expires_in_ms": login.expires_in_ms}
    return tokens
