"""What a client keeps for its person: global, or for a room. Client-Server API v1.19, "Client Config".

It reaches the person's other devices through /sync, so it has a place in the log and its table is in `cells`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from hutong.errors import BadParam, MatrixError, NotFound
from hutong.ids import AccountNo, Minute, RoomNo, new_id
from hutong.vault.blind import BlindIndex
from hutong.vault.vault import Sealed, Vault

TYPE_BYTES_MAX = 255
GLOBAL = RoomNo(0)
SERVER_TYPES = ("m.fully_read", "m.push_rules")
"""What the server manages: clients may read it, not write it."""

Computed = Callable[[AccountNo, RoomNo], Awaitable[bytes | None]]
"""Makes the JSON of a type that the server manages; None when there is nothing."""
RoomOf = Callable[[AccountNo, str], Awaitable[RoomNo]]
"""The room with this id, for somebody who has to do with it. Raises: BadParam for no room id, Forbidden."""


class AccountDataTable(Protocol):
    """The positioned table, as `cells` offers it."""

    async def put(self, account: AccountNo, room: RoomNo, type_key: bytes, id: bytes, body: Sealed) -> None: ...

    async def get(self, account: AccountNo, room: RoomNo, type_key: bytes) -> tuple[bytes, bytes] | None: ...


class AccountData:
    """The account data of one cell's accounts. `computed`: by type, what the server manages."""

    def __init__(
        self, table: AccountDataTable, vault: Vault, blind: BlindIndex, computed: Mapping[str, Computed],
        room_of: RoomOf, now: Callable[[], float], random: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._table = table
        self._vault = vault
        self._blind = blind
        self._computed = computed
        self.room_of = room_of
        self.changed: list[Callable[[AccountNo, RoomNo, str], None]] = []
        """Each is told of what was written: whose, for which room, of which type."""
        self._now = now
        self._random = random

    async def put(self, account: AccountNo, room: RoomNo, type: str, content: bytes) -> None:
        """Keep the JSON object `content` in place of what was there. `room` 0: global.

        Raises: BadParam; MatrixError 405 M_BAD_JSON for what the server manages.
        """
        _check_type(type)
        if type in SERVER_TYPES:
            raise MatrixError(f"type: {type} is the server's; clients cannot set it", status=405, errcode="M_BAD_JSON")
        id = new_id(Minute(int(self._now() // 60)), self._random)
        sealed = self._vault.seal(account, id, pack(type, content))
        await self._table.put(account, room, self._blind.type_key(type), id, sealed)
        for changed in self.changed:
            changed(account, room, type)

    async def get(self, account: AccountNo, room: RoomNo, type: str) -> bytes:
        """The JSON object that was kept. Raises: NotFound, BadParam."""
        _check_type(type)
        if type in SERVER_TYPES:
            made = await self._computed[type](account, room) if type in self._computed else None
            if made is not None:
                return made
            raise NotFound(f"type: there is no {type}")
        found = await self._table.get(account, room, self._blind.type_key(type))
        if found is None:
            raise NotFound("type: there is no account data of this type")
        return unpack(self._vault.open(account, found[0], found[1]))[1]


def pack(type: str, content: bytes) -> bytes:
    """What is sealed: the type, a zero byte, the JSON as it was sent."""
    return type.encode() + b"\0" + content


def unpack(plain: bytes) -> tuple[str, bytes]:
    type, _, content = plain.partition(b"\0")
    return type.decode(), content


def _check_type(type: str) -> None:
    if not type or "\0" in type or len(type.encode()) > TYPE_BYTES_MAX:
        raise BadParam("type", f"is empty, longer than {TYPE_BYTES_MAX} bytes, or holds a zero byte")
