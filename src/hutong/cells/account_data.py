"""The positioned table of account data, as the accounts slice uses it."""

from dataclasses import dataclass

from hutong.cells.ops import PutAccountData
from hutong.cells.reads import Reads
from hutong.cells.writer import Writer
from hutong.ids import AccountNo, RoomNo


@dataclass(frozen=True)
class AccountDataLog:
    writer: Writer
    reads: Reads

    async def put(self, account: AccountNo, room: RoomNo, type_key: bytes, id: bytes, body: bytes) -> None:
        """Durable when this returns; the account's devices are woken."""
        await self.writer.submit(PutAccountData(account=account, room=room, type_key=type_key, id=id, body=body))

    async def get(self, account: AccountNo, room: RoomNo, type_key: bytes) -> tuple[bytes, bytes] | None:
        return await self.reads.account_data(account, room, type_key)
