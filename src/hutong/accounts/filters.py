"""Filters that a client keeps here, to name them in /sync by a short id. Client-Server API v1.19, "Filtering"."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from hutong.accounts.store import AccountStore
from hutong.errors import NotFound
from hutong.ids import AccountNo, Minute, new_id
from hutong.vault.blind import HASH_BYTES, BlindIndex
from hutong.vault.vault import Vault

CACHED_MAX = 10_000
_PREFIX = "f"
_PADDING = "=="


class Filters:
    """The filters of one cell's accounts. A filter's id is made from a keyed hash of it, so the same one is kept once.

    `check`: raises what is wrong with a filter's JSON.
    """

    def __init__(
        self, store: AccountStore, vault: Vault, blind: BlindIndex, check: Callable[[bytes], object],
        now: Callable[[], float], random: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._store = store
        self._vault = vault
        self._blind = blind
        self._check = check
        self._now = now
        self._random = random
        self._cache: OrderedDict[tuple[AccountNo, str], bytes] = OrderedDict()

    async def put(self, account: AccountNo, body: bytes) -> str:
        """Keep the filter `body`, a JSON object. Returns its id. Raises: what `check` raises."""
        self._check(body)
        digest = self._blind.filter(body)
        id = new_id(Minute(int(self._now() // 60)), self._random)
        await self._store.put_filter(account, digest, UUID(bytes=id), self._vault.seal(account, id, body))
        return _PREFIX + urlsafe_b64encode(digest).decode().removesuffix(_PADDING)

    async def get(self, account: AccountNo, filter_id: str) -> bytes:
        """The filter's JSON as it was sent. Raises: NotFound. Cost: nothing once cached, else one statement."""
        cached = self.cached(account, filter_id)
        if cached is not None:
            return cached
        digest = _digest(filter_id)
        found = await self._store.filter(account, digest) if digest is not None else None
        if found is None:
            raise NotFound("filter_id: you have no such filter")
        body = self._vault.open(account, found[0].bytes, found[1])
        self._cache[account, filter_id] = body
        if len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)
        return body

    def cached(self, account: AccountNo, filter_id: str) -> bytes | None:
        """The filter's JSON, if it was read lately."""
        found = self._cache.get((account, filter_id))
        if found is not None:
            self._cache.move_to_end((account, filter_id))
        return found


def _digest(filter_id: str) -> bytes | None:
    try:
        digest = urlsafe_b64decode(filter_id.removeprefix(_PREFIX).encode("ascii") + _PADDING.encode())
    except ValueError:
        return None
    return digest if len(digest) == HASH_BYTES and filter_id.startswith(_PREFIX) else None
