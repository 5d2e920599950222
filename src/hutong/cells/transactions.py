"""A client's repetition of a request finds what the first one made: (device, path, transaction id) -> event.

Held in memory after one statement per device and start; the table's unique key is what holds when memory is lost.
"""

import asyncio
from collections import OrderedDict
from itertools import islice

from hutong.cells.reads import Reads
from hutong.ids import AccountNo, DeviceNo

DEVICES_MAX = 50_000
OF_DEVICE_MAX = 2_000
"""Of each device so many are remembered, and at times twice as many. A repetition of one before them is refused by the
table's unique key."""
RECENT_MAX = 50_000
Device = tuple[AccountNo, DeviceNo]


class Transactions:
    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._devices: OrderedDict[Device, dict[bytes, bytes | None]] = OrderedDict()
        """None for a transaction that failed: it may have been committed all the same, so the table is asked."""
        self._under_way: dict[tuple[Device, bytes], asyncio.Future[None]] = {}
        self._texts: OrderedDict[tuple[DeviceNo, bytes], str] = OrderedDict()

    async def begin(self, device: Device, key: bytes) -> bytes | None:
        """The event that this transaction made before; None: it is new, and now under way until `end`.

        While an equal request is under way, this waits for its end.
        """
        while (device, key) in self._under_way:
            await asyncio.shield(self._under_way[device, key])
        self._under_way[device, key] = asyncio.get_running_loop().create_future()
        try:
            known = self._devices.get(device)
            if known is None:
                read: dict[bytes, bytes | None] = {**await self._reads.txns(*device)}
                known = self._devices.setdefault(device, read)
            elif key in known and known[key] is None:
                known[key] = (await self._reads.txns(*device)).get(key)
            self._devices.move_to_end(device)
            if len(self._devices) > DEVICES_MAX:
                self._devices.popitem(last=False)
        except BaseException:
            self.end(device, key, None)
            raise
        event_id = known.get(key)
        if event_id is not None:
            self.end(device, key, event_id)
        return event_id

    def end(self, device: Device, key: bytes, event_id: bytes | None) -> None:
        """It made `event_id`, or (None) it failed."""
        known = self._devices.get(device)
        if known is not None:
            known[key] = event_id
            if len(known) >= 2 * OF_DEVICE_MAX:
                for old in list(islice(known, OF_DEVICE_MAX)):
                    del known[old]
        future = self._under_way.pop((device, key), None)
        if future is not None:
            future.set_result(None)

    def forget(self, device: Device, key: bytes) -> None:
        """What it had made was given up."""
        self._devices.get(device, {}).pop(key, None)

    def remember_text(self, device: DeviceNo, event_id: bytes, txn_id: str) -> None:
        """For `unsigned.transaction_id`, shown to the device that sent it; in memory only, since a client chose it."""
        self._texts[device, event_id] = txn_id
        if len(self._texts) > RECENT_MAX:
            self._texts.popitem(last=False)

    def text(self, device: DeviceNo, event_id: bytes) -> str | None:
        return self._texts.get((device, event_id))
