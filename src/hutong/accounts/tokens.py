"""Access and refresh tokens: how they are written, and those that were looked up lately.

`h.<region>.<cell index>.<43 characters>` is an access token and `hr. ...` a refresh token; the last part is 256 random
bits in base64url. The database has their SHA-256 only.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256

from hutong.accounts.model import TokenKind
from hutong.config import Region
from hutong.http.request import Caller
from hutong.ids import CellNo

SECRET_BYTES = 32
TOKEN_CHARS_MAX = 128
CACHED_MAX = 200_000
CACHED_SECONDS = 3_600
_PREFIX = {TokenKind.ACCESS: "h", TokenKind.REFRESH: "hr"}


def make(kind: TokenKind, region: str, cell_index: int, random: Callable[[int], bytes]) -> str:
    """A fresh token for an account of the given cell."""
    secret = urlsafe_b64encode(random(SECRET_BYTES)).decode().rstrip("=")
    return f"{_PREFIX[kind]}.{region}.{cell_index}.{secret}"


def fingerprint(token: str) -> bytes:
    """What stands for the token in the database."""
    return sha256(token.encode()).digest()


def cell_of(token: str, kind: TokenKind, regions: Mapping[str, Region]) -> CellNo | None:
    """The cell that `token` names, or None when it names none of ours."""
    parts = token.split(".")
    if len(token) > TOKEN_CHARS_MAX or len(parts) != 4 or parts[0] != _PREFIX[kind] or not token.isascii():
        return None
    region = regions.get(parts[1])
    if region is None or not parts[2].isdecimal() or int(parts[2]) >= len(region.cells):
        return None
    return region.cells[int(parts[2])].number


class TokenCache:
    """Who calls, by the fingerprint of the token, for those who called within the hour. In memory only, bounded.

    A look-up in the database that was under way while tokens were dropped must not bring one of them back: `put` takes
    the `epoch` from before the look-up, and does nothing when a token was dropped since.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._callers: dict[bytes, tuple[Caller, float]] = {}
        self.epoch = 0

    def get(self, sha: bytes) -> Caller | None:
        found = self._callers.get(sha)
        if found is None:
            return None
        if found[1] <= self._now():
            del self._callers[sha]
            return None
        return found[0]

    def put(self, caller: Caller, expires: float | None, epoch: int) -> None:
        if epoch != self.epoch:
            return
        if len(self._callers) >= CACHED_MAX:
            del self._callers[next(iter(self._callers))]
        until = self._now() + CACHED_SECONDS
        self._callers[caller.token] = (caller, until if expires is None else min(until, expires))

    def drop(self, shas: Iterable[bytes]) -> list[Caller]:
        """Forget these tokens at once. Returns the callers that were known by them."""
        self.epoch += 1
        gone = [self._callers.pop(sha, None) for sha in shas]
        return [found[0] for found in gone if found]
