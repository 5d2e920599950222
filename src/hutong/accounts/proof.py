"""Asking for the password once more, before something that cannot be undone."""

from collections.abc import Awaitable, Callable

from hutong.accounts.homes import CellAccounts
from hutong.accounts.interactive import AttemptFailed, Auth, Interactive, Stage
from hutong.accounts.names import fold
from hutong.errors import Forbidden
from hutong.http.request import Caller


async def proven(
    interactive: Interactive, home: CellAccounts, who: Caller, operation: str, parameters: bytes,
    auth: Auth | None, work: Callable[[], Awaitable[bytes]],
) -> bytes:  # fmt: skip
    """What `work` answers, once the caller has given their password."""
    user_id = await home.accounts.user_id(who.account)

    async def check(auth: Auth) -> None:
        if auth.identifier is not None and auth.identifier.type != "m.id.user":
            raise AttemptFailed(f"auth.identifier.type: is {auth.identifier.type!r}, and only m.id.user is known")
        named = auth.identifier.user if auth.identifier is not None else auth.user
        if named is None or auth.password is None:
            raise AttemptFailed("auth: identifier and password are needed")
        localpart, _, server_name = user_id[1:].partition(":")
        name, at, server = named.removeprefix("@").partition(":")
        if fold(name) != localpart or (at and server != server_name):
            raise Forbidden("auth.identifier.user: is somebody else")
        if await home.accounts.prove(localpart, auth.password) != who.account:
            raise AttemptFailed("auth.password: wrong")

    whose = f"{operation} {who.cell}.{who.account}"
    return await interactive.run(whose, parameters, Stage.PASSWORD, auth, check, work)
