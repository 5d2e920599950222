"""Where account keys live: small sealed files beside PostgreSQL, never in it and never in its backups.

Each file exists twice, in the keystore and in its mirror inside the same jurisdiction. Both are written, the keystore
first, before anything is answered; a start takes the newer of two, heals the other, and refuses what belongs elsewhere.
Keys are kept outside the database because destroying one must make a person's content unreadable in every backup of it.
"""

import asyncio
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hutong.ids import AccountNo
from hutong.vault.disk import Disk
from hutong.vault.pages import HEAD, SLOTS, Damaged, Foreign, Head, Page, Sealer, Slot, Whole
from hutong.vault.rootkey import KEY_BYTES

FIRST_ACCOUNT = 1
"""Account 0 is nobody's, so that 0 can stand for "no account"."""
CIPHERS_MAX = 1_024
"""How many are kept ready: one takes 2.4 kB outside of Python's own memory, and making it anew a microsecond."""
_PAGE_NAME = re.compile(r"page-(\d{8})")
_HEAD_NAME = "head"
_NONCE_BYTES = 12

Record = TypeVar("Record", Page, Head)


class KeystoreError(Exception):
    """The keystore cannot be used, or not written; the message says which file, why, and what now."""


class Keystore:
    """The keys of one cell's accounts, all of them in memory: 33 bytes each, and a cipher for those in use lately."""

    def __init__(
        self, directory: Path, mirror: Path, root_key: bytes, region: str, cell: int = 0, *,
        random: Callable[[int], bytes], disk: Disk | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.mirror = mirror
        self.region = region
        self.healed: list[str] = []
        """What the start found damaged, missing or old in one place and restored from the other; for the log."""
        self._random = random
        self._disk = disk or Disk()
        self._sealer = Sealer(root_key, f"region {region} cell {cell}")
        self._pages: list[Page] = []
        self._versions: dict[int, int] = {}
        self._head: Head | None = None
        self._next = FIRST_ACCOUNT
        self._ciphers: dict[AccountNo, AESGCM] = {}
        self._unsaved: set[int] = set()
        self._group: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, directory: Path, mirror: Path, root_key: bytes, region: str, cell: int = 0, *,
        random: Callable[[int], bytes], disk: Disk | None = None,
    ) -> "Keystore":  # fmt: skip
        """The keystore in `directory`, made there if there is none, compared with its mirror and healed.

        `region`: the region's name; a keystore of another region or cell is refused.
        Raises: KeystoreError.
        """
        keystore = cls(directory, mirror, root_key, region, cell, random=random, disk=disk)
        await asyncio.to_thread(keystore._load)
        return keystore

    # --- keys ---

    async def allocate(self) -> AccountNo:
        """A new account number with a new key, on both disks when this returns.

        Raises: KeystoreError (the number is lost, and never given again).
        Cost: two files of 8 kB and four fsyncs, shared by all who ask at the same time.
        """
        account = AccountNo(self._next)
        self._next += 1
        number, slot = divmod(account, SLOTS)
        while number >= len(self._pages):
            self._pages.append(Page())
        self._pages[number].use(slot, self._random(KEY_BYTES))
        try:
            await self._save(number)
        except BaseException:
            # Not acknowledged, so nothing is sealed under it. Whether the file has it or not, nobody gets this number.
            self._pages[number].destroy(slot)
            self._unsaved.add(number)
            raise
        return account

    def cipher(self, account: AccountNo) -> AESGCM | None:
        """What seals and opens `account`'s content; None when its key was destroyed or never was. Cost: a look-up."""
        cipher = self._ciphers.get(account)
        if cipher is None:
            key = self._key(account)
            if key is None:
                return None
            if len(self._ciphers) >= CIPHERS_MAX:
                del self._ciphers[next(iter(self._ciphers))]
            cipher = self._ciphers[account] = AESGCM(key)
        return cipher

    async def destroy(self, *accounts: AccountNo) -> None:
        """Rewrite the pages of `accounts`, here and in the mirror, without their keys. Done twice, it is done once.

        Raises: KeystoreError (the keys are gone from memory, perhaps not from the disk: call again).
        """
        numbers = set()
        for account in accounts:
            number, slot = divmod(account, SLOTS)
            self._ciphers.pop(account, None)
            if self.state(account) is not Slot.DESTROYED:
                assert number < len(self._pages), "no such account"
                self._pages[number].destroy(slot)
                numbers.add(number)
        # Also when a write of an earlier call failed: nobody hears "destroyed" while a page on the disk has the key.
        numbers |= self._unsaved
        if numbers or self._writing:
            await self._save(*numbers)

    def state(self, account: AccountNo) -> Slot:
        number, slot = divmod(account, SLOTS)
        return Slot(self._pages[number].states[slot]) if 0 <= number < len(self._pages) else Slot.FREE

    async def reconcile(self, known: Collection[AccountNo]) -> list[AccountNo]:
        """Destroy the keys of registrations that never finished: slots in use by none of the `known` accounts.

        For a start, after `check_head` and before anybody registers. Returns what was destroyed.
        Raises: KeystoreError when a known account never had a key: this is not the keystore that belongs to the
        database.
        """
        lost = [account for account in known if self.state(account) is Slot.FREE]
        if lost:
            raise KeystoreError(
                f"{self.directory}: {len(lost)} of the database's {len(known)} accounts have no key here. The keystore "
                f"is older than the database, or another one. Put back the right one (or its mirror, {self.mirror}); "
                f"without it their content cannot be opened. Nothing was started."
            )
        kept = set(known)
        unfinished = [
            AccountNo(number * SLOTS + slot)
            for number, page in enumerate(self._pages)
            for slot in range(SLOTS)
            if page.states[slot] == Slot.USED and number * SLOTS + slot not in kept
        ]
        if unfinished:
            await self.destroy(*unfinished)
        return unfinished

    # --- how far the database had come ---

    def head(self) -> Head | None:
        """What was recorded last; None in a new keystore."""
        return self._head

    async def record_head(self, gen: int, pos: int) -> None:
        """Remember that the database, in generation `gen`, has committed log position `pos`. Cost: four fsyncs."""
        self._head = Head(gen, pos)
        await self._save(HEAD)

    def check_head(self, gen: int, pos: int) -> None:
        """Refuse a database that lies behind, or is another one, than the keystore last saw.

        Raises: KeystoreError, which names the command that accepts such a database.
        """
        if self._head is None or (self._head.gen == gen and self._head.pos <= pos):
            return
        found = (
            f"ends at position {pos}, and position {self._head.pos} had been committed"
            if self._head.gen == gen
            else f"is of generation {gen}, and generation {self._head.gen} was the last one used"
        )
        raise KeystoreError(
            f"region {self.region}: the database {found}. If it was restored from a backup, say so with "
            f"`hutong region restored {self.region}`, so that clients start afresh instead of missing messages. "
            f"Nothing was started."
        )

    # --- files ---

    def _key(self, account: AccountNo) -> bytes | None:
        number, slot = divmod(account, SLOTS)
        return self._pages[number].key(slot) if 0 <= number < len(self._pages) else None

    async def _save(self, *numbers: int) -> None:
        """Write these files, and whatever failed before. Who asks while a write is under way shares the next one."""
        loop = asyncio.get_running_loop()
        self._unsaved.update(numbers)
        if self._group is None:
            self._group = loop.create_future()
            self._group.add_done_callback(_look_at)
        group = self._group
        if self._writing is None:
            self._writing = loop.create_task(self._write_groups())
        await asyncio.shield(group)  # one who gives up does not take the others along

    async def _write_groups(self) -> None:
        try:
            while (group := self._group) is not None:
                numbers, self._unsaved, self._group = self._unsaved, set(), None
                try:
                    await asyncio.to_thread(self._write, [self._seal(number) for number in sorted(numbers)])
                except Exception as error:
                    self._unsaved |= numbers
                    group.set_exception(KeystoreError(f"{self.directory}: cannot be written: {error}"))
                else:
                    group.set_result(None)
        finally:
            self._writing = None

    def _seal(self, number: int) -> tuple[str, bytes]:
        version = self._versions[number] = self._versions.get(number, 0) + 1
        if number == HEAD:
            assert self._head is not None
            plain = self._head.to_bytes()
        else:
            plain = self._pages[number].to_bytes()
        return _name(number), self._sealer.seal(number, version, plain, self._random(_NONCE_BYTES))

    def _write(self, files: list[tuple[str, bytes]]) -> None:
        for name, data in files:
            self._disk.write_atomically(self.directory / name, data)
            self._disk.write_atomically(self.mirror / name, data)

    def _load(self) -> None:
        places = (self.directory, self.mirror)
        for place in places:
            self._disk.make_directory(place)
            self._disk.remove_unfinished(place)
        numbers = {number for place in places for path in place.iterdir() if (number := _number(path.name)) is not None}
        pages = sorted(numbers - {HEAD})
        for expected, number in enumerate(pages):
            if number != expected:
                raise KeystoreError(
                    f"{self.directory / _name(expected)} is missing, and so is its twin in {self.mirror}. Put one of "
                    f"them back; the content of up to {SLOTS} accounts depends on it. Nothing was started."
                )
        for number in pages:
            self._pages.append(self._read(number, Page.from_bytes))
        if HEAD in numbers:
            self._head = self._read(HEAD, Head.from_bytes)
        for number, page in enumerate(self._pages):
            for slot in range(SLOTS):
                if page.states[slot] != Slot.FREE:
                    self._next = max(self._next, number * SLOTS + slot + 1)

    def _read(self, number: int, decode: Callable[[bytes], Record]) -> Record:
        """One file from the place where it is newer, put back where it is damaged, missing or older."""
        name = _name(number)
        paths = (self.directory / name, self.mirror / name)
        found: list[tuple[Whole, bytes, Record]] = []
        wrong: dict[Path, str] = {}
        for path in paths:
            try:
                raw = path.read_bytes()
                whole = self._sealer.open(number, raw)
                found.append((whole, raw, decode(whole.plain)))
            except Foreign as error:
                raise KeystoreError(f"{path} {error}. Nothing was started.") from None
            except PermissionError as error:
                raise KeystoreError(f"{path}: cannot be read: {error.strerror}. Nothing was started.") from None
            except FileNotFoundError:
                wrong[path] = "was missing"
            except (Damaged, OSError) as error:
                wrong[path] = f"was damaged ({error})"
            else:
                if len(found) == 2 and found[0][1] != found[1][1]:
                    versions = (found[0][0].version, found[1][0].version)
                    if versions[0] == versions[1]:
                        raise KeystoreError(
                            f"{paths[0]} and {paths[1]} are both whole and differ, though neither is newer: they were "
                            f"written by two nodes. Decide which is right and remove the other. Nothing was started."
                        )
                    older = versions.index(min(versions))
                    wrong[paths[older]] = "was older"
                    del found[older]
        if not found:
            raise KeystoreError(
                f"{paths[0]} {wrong[paths[0]]}, and {paths[1]} {wrong[paths[1]]}. Put one of them back from a copy "
                f"inside the jurisdiction. Nothing was started."
            )
        whole, raw, value = found[0]
        for path, what in wrong.items():
            self._disk.write_atomically(path, raw)
            self.healed.append(f"{path} {what}; restored from its twin")
        self._versions[number] = whole.version
        return value


def _name(number: int) -> str:
    return _HEAD_NAME if number == HEAD else f"page-{number:08}"


def _number(name: str) -> int | None:
    if name == _HEAD_NAME:
        return HEAD
    match = _PAGE_NAME.fullmatch(name)
    return int(match[1]) if match else None


def _look_at(group: asyncio.Future[None]) -> None:
    """Everyone who waited for it may have been cancelled: nobody is left to be told of its failure."""
    if not group.cancelled():
        group.exception()
