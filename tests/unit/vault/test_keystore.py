import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hutong.ids import AccountNo
from hutong.vault.disk import Disk
from hutong.vault.keystore import Keystore, KeystoreError
from hutong.vault.pages import SLOTS, Page, Slot
from hutong.vault.vault import Gone, Vault

ROOT = bytes(range(32))
RECORD = b"sixteen bytes id"


@dataclass
class Folder:
    """Where one cell's keystore lies in a test."""

    path: Path
    disk: Disk = field(default_factory=Disk)

    @property
    def home(self) -> Path:
        return self.path / "keystore"

    @property
    def mirror(self) -> Path:
        return self.path / "keystore-mirror"

    async def open(self, region: str = "ru", root: bytes = ROOT, cell: int = 0) -> Keystore:
        return await Keystore.open(self.home, self.mirror, root, region, cell, random=os.urandom, disk=self.disk)

    def files(self) -> dict[str, tuple[bytes | None, bytes | None]]:
        names = {path.name for place in (self.home, self.mirror) if place.exists() for path in place.iterdir()}
        return {name: (_read(self.home / name), _read(self.mirror / name)) for name in names}


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Killed(Exception):
    """The process died here; what it did before is on the disk."""


class DyingDisk(Disk):
    """Dies at the given step; a write dies with half of its bytes written."""

    def __init__(self, steps_left: int) -> None:
        self.steps_left = steps_left

    def _step(self) -> None:
        if self.steps_left <= 0:
            raise Killed
        self.steps_left -= 1

    def write(self, path: Path, data: bytes) -> None:
        try:
            self._step()
        except Killed:
            super().write(path, data[: len(data) // 2])
            raise
        super().write(path, data)

    def replace(self, source: Path, target: Path) -> None:
        self._step()
        super().replace(source, target)

    def sync_directory(self, directory: Path) -> None:
        self._step()
        super().sync_directory(directory)


class CountingDisk(Disk):
    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()

    def write(self, path: Path, data: bytes) -> None:
        self.writes[path.name] += 1
        super().write(path, data)


class FullDisk(Disk):
    full = False

    def write(self, path: Path, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(path, data)


async def test_keys_survive_a_restart(folder: Folder) -> None:
    keystore = await folder.open()
    accounts = [await keystore.allocate() for _ in range(3)]
    sealed = [Vault(keystore, os.urandom).seal(account, RECORD, b"%d" % account) for account in accounts]

    vault = Vault(await folder.open(), os.urandom)
    assert [vault.open(account, RECORD, text) for account, text in zip(accounts, sealed, strict=True)] == [
        b"%d" % account for account in accounts
    ]


async def test_account_numbers_are_unique_and_never_zero(folder: Folder) -> None:
    keystore = await folder.open()
    accounts = await asyncio.gather(*(keystore.allocate() for _ in range(SLOTS + 10)))
    assert sorted(accounts) == list(range(1, SLOTS + 11))
    assert await (await folder.open()).allocate() == SLOTS + 11


async def test_ciphers_kept_ready_are_few_and_those_let_go_still_open(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hutong.vault.keystore.CIPHERS_MAX", 3)
    keystore = await folder.open()
    vault = Vault(keystore, os.urandom)
    accounts = await asyncio.gather(*(keystore.allocate() for _ in range(10)))
    sealed = [vault.seal(account, RECORD, b"%d" % account) for account in accounts]
    ciphers = {id(keystore.cipher(account)) for account in accounts[-3:]}
    assert {id(keystore.cipher(account)) for account in accounts[-3:]} == ciphers, "the last ones are kept"
    assert len(keystore._ciphers) == 3
    assert [vault.open(account, RECORD, text) for account, text in zip(accounts, sealed, strict=True)] == [
        b"%d" % account for account in accounts
    ]


async def test_registrations_at_the_same_time_share_their_writes(folder: Folder) -> None:
    disk = folder.disk = CountingDisk()
    keystore = await folder.open()
    await asyncio.gather(*(keystore.allocate() for _ in range(100)))
    # The first may go alone, the others wait for it and go together: each time once here and once in the mirror.
    assert disk.writes["page-00000000.new"] <= 4


async def test_a_destroyed_key_is_on_neither_disk_and_its_number_is_never_given_again(folder: Folder) -> None:
    keystore = await folder.open()
    erased, other = await keystore.allocate(), await keystore.allocate()
    sealed = Vault(keystore, os.urandom).seal(erased, RECORD, b"secret")
    await keystore.destroy(erased)
    with pytest.raises(Gone):
        Vault(keystore, os.urandom).open(erased, RECORD, sealed)

    reopened = await folder.open()
    assert (reopened.state(erased), reopened.state(other)) == (Slot.DESTROYED, Slot.USED)
    with pytest.raises(Gone):
        Vault(reopened, os.urandom).open(erased, RECORD, sealed)
    for copy in folder.files()["page-00000000"]:
        assert copy is not None
        page = Page.from_bytes(reopened._sealer.open(0, copy).plain)
        assert page.keys[erased * 32 : erased * 32 + 32] == bytes(32)
        assert page.keys[other * 32 : other * 32 + 32] != bytes(32)
    assert await reopened.allocate() > other


async def test_no_key_is_in_clear_on_disk(folder: Folder) -> None:
    keystore = await folder.open()
    account = await keystore.allocate()
    key = keystore._pages[0].key(account)
    assert key is not None
    for copies in folder.files().values():
        for copy in copies:
            assert copy is not None
            assert key not in copy
            assert ROOT not in copy


@pytest.mark.parametrize("victim", ["home", "mirror"])
@pytest.mark.parametrize("how", ["missing", "flipped", "torn", "empty", "header"])
async def test_one_damaged_copy_is_healed_from_the_other(folder: Folder, victim: str, how: str) -> None:
    keystore = await folder.open()
    account = await keystore.allocate()
    sealed = Vault(keystore, os.urandom).seal(account, RECORD, b"words")
    path: Path = getattr(folder, victim) / "page-00000000"
    raw = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        flipped = bytearray(raw)
        flipped[20 if how == "header" else -100] ^= 1
        path.write_bytes({"torn": raw[: len(raw) // 2], "empty": b""}.get(how, bytes(flipped)))

    healed = await folder.open()
    assert len(healed.healed) == 1
    assert str(path) in healed.healed[0]
    assert Vault(healed, os.urandom).open(account, RECORD, sealed) == b"words"
    assert path.read_bytes() == raw
    assert (await folder.open()).healed == []


async def test_an_older_copy_never_brings_a_destroyed_key_back(folder: Folder) -> None:
    keystore = await folder.open()
    account = await keystore.allocate()
    for place in (folder.home, folder.mirror):
        current = await folder.open()
        old = (place / "page-00000000").read_bytes()
        await current.destroy(account)
        (place / "page-00000000").write_bytes(old)
        reopened = await folder.open()
        assert reopened.state(account) is Slot.DESTROYED
        assert reopened.healed == [f"{place / 'page-00000000'} was older; restored from its twin"]
        account = await reopened.allocate()


async def test_both_copies_damaged_is_refused_and_nothing_is_overwritten(folder: Folder) -> None:
    await (await folder.open()).allocate()
    for place in (folder.home, folder.mirror):
        (place / "page-00000000").write_bytes(b"rubbish")
    before = folder.files()
    with pytest.raises(KeystoreError, match=r"page-00000000 was damaged .* Put one of them back"):
        await folder.open()
    assert folder.files() == before


async def test_a_page_missing_in_both_places_is_refused(folder: Folder) -> None:
    keystore = await folder.open()
    await asyncio.gather(*(keystore.allocate() for _ in range(SLOTS)))
    for place in (folder.home, folder.mirror):
        (place / "page-00000000").unlink()
    with pytest.raises(KeystoreError, match="page-00000000 is missing, and so is its twin"):
        await folder.open()


OPENINGS: list[tuple[Callable[[Folder], Awaitable[Keystore]], str]] = [
    (lambda folder: folder.open(region="cn"), "belongs to region ru cell 0, and this is region cn cell 0"),
    (lambda folder: folder.open(cell=1), "belongs to region ru cell 0, and this is region ru cell 1"),
    (lambda folder: folder.open(root=b"x" * 32), "is sealed under another root key"),
]


@pytest.mark.parametrize(("opening", "message"), OPENINGS)
@pytest.mark.parametrize("what", ["page", "head"])
async def test_a_keystore_from_elsewhere_is_refused_and_not_healed_over(
    folder: Folder, opening: Callable[[Folder], Awaitable[Keystore]], message: str, what: str
) -> None:
    keystore = await folder.open()
    await (keystore.allocate() if what == "page" else keystore.record_head(1, 1))
    before = folder.files()
    with pytest.raises(KeystoreError, match=message):
        await opening(folder)
    assert folder.files() == before


async def test_the_mirror_of_another_region_is_refused(folder: Folder, tmp_path: Path) -> None:
    await (await folder.open()).allocate()
    elsewhere = Folder(tmp_path / "elsewhere")
    await (await elsewhere.open(region="cn", root=b"y" * 32)).allocate()
    (folder.mirror / "page-00000000").write_bytes((elsewhere.home / "page-00000000").read_bytes())
    with pytest.raises(KeystoreError, match="keystore-mirror/page-00000000 belongs to region cn"):
        await folder.open()


async def test_a_renamed_page_is_refused(folder: Folder) -> None:
    await (await folder.open()).allocate()
    for place in (folder.home, folder.mirror):
        (place / "page-00000001").write_bytes((place / "page-00000000").read_bytes())
    with pytest.raises(KeystoreError, match="is number 0 under the name of number 1"):
        await folder.open()


async def _scenario(folder: Folder, acknowledged: dict[AccountNo, Slot], seals: dict[AccountNo, bytes]) -> None:
    """Registers, erases and records a head; notes what was acknowledged."""
    keystore = await folder.open()
    vault = Vault(keystore, os.urandom)
    for _ in range(2):
        account = await keystore.allocate()
        acknowledged[account] = Slot.USED
        seals[account] = vault.seal(account, RECORD, b"words")
    first = next(iter(acknowledged))
    acknowledged[first] = Slot.FREE  # from here on either answer is right, until it is acknowledged
    await keystore.destroy(first)
    acknowledged[first] = Slot.DESTROYED
    await keystore.record_head(7, 41)
    third = await keystore.allocate()
    acknowledged[third] = Slot.USED
    seals[third] = vault.seal(third, RECORD, b"words")


# 5 replacements of 2 files with 3 steps each; one more step, and it survives.
@pytest.mark.parametrize("steps", range(31))
async def test_killed_at_any_step_every_acknowledged_key_is_as_acknowledged(folder: Folder, steps: int) -> None:
    acknowledged: dict[AccountNo, Slot] = {}
    seals: dict[AccountNo, bytes] = {}
    folder.disk = DyingDisk(steps)
    died = False
    try:
        await _scenario(folder, acknowledged, seals)
    except KeystoreError:
        died = True
    assert died == (steps < 30)

    folder.disk = Disk()
    keystore = await folder.open()
    vault = Vault(keystore, os.urandom)
    for account, state in acknowledged.items():
        if state is not Slot.FREE:
            assert keystore.state(account) is state
        if state is Slot.USED:
            assert vault.open(account, RECORD, seals[account]) == b"words"
    for name, (home, mirror) in folder.files().items():
        assert home is not None, name
        assert home == mirror, name
    assert await keystore.allocate() not in acknowledged


async def test_a_full_disk_is_an_error_and_the_next_write_carries_on(folder: Folder) -> None:
    disk = FullDisk()
    folder.disk = disk
    keystore = await folder.open()
    account, erased = await keystore.allocate(), await keystore.allocate()
    disk.full = True
    with pytest.raises(KeystoreError, match="No space left"):
        await keystore.allocate()
    with pytest.raises(KeystoreError, match="No space left"):
        await keystore.destroy(erased)
    with pytest.raises(KeystoreError, match="No space left"):
        await keystore.destroy(erased)  # gone from memory; still not acknowledged while the disk has it
    disk.full = False
    await keystore.destroy(erased)
    fresh = await keystore.allocate()
    reopened = await folder.open()
    states = [reopened.state(account), reopened.state(erased), reopened.state(AccountNo(3)), reopened.state(fresh)]
    assert states == [Slot.USED, Slot.DESTROYED, Slot.DESTROYED, Slot.USED]


async def test_one_who_gives_up_does_not_take_the_others_along(folder: Folder) -> None:
    keystore = await folder.open()
    waiting = [asyncio.create_task(keystore.allocate()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    with suppress(asyncio.CancelledError):
        await waiting[2]
    numbers = [await task for index, task in enumerate(waiting) if index != 2]
    assert len(set(numbers)) == 4
    await keystore.record_head(1, 1)
    assert [(await folder.open()).state(number) for number in numbers] == [Slot.USED] * 4


async def test_reconcile_destroys_what_no_account_uses(folder: Folder) -> None:
    keystore = await folder.open()
    kept, unfinished, erased = [await keystore.allocate() for _ in range(3)]
    await keystore.destroy(erased)
    assert await keystore.reconcile({kept, erased}) == [unfinished]
    assert await keystore.reconcile({kept, erased}) == []
    assert (await folder.open()).state(unfinished) is Slot.DESTROYED


async def test_reconcile_refuses_a_keystore_older_than_the_database(folder: Folder) -> None:
    keystore = await folder.open()
    kept = await keystore.allocate()
    with pytest.raises(KeystoreError, match="1 of the database's 2 accounts have no key here"):
        await keystore.reconcile({kept, AccountNo(kept + 1)})


async def test_the_head_is_remembered_and_a_database_behind_it_refused(folder: Folder) -> None:
    keystore = await folder.open()
    keystore.check_head(99, 0)  # nothing recorded yet
    await keystore.record_head(5, 100)
    reopened = await folder.open()
    head = reopened.head()
    assert head is not None
    assert (head.gen, head.pos) == (5, 100)
    reopened.check_head(5, 100)
    reopened.check_head(5, 101)
    with pytest.raises(KeystoreError, match=r"ends at position 99.*hutong region restored ru"):
        reopened.check_head(5, 99)
    with pytest.raises(KeystoreError, match=r"of generation 6.*hutong region restored ru"):
        reopened.check_head(6, 200)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["allocate", "destroy", "reopen", "lose home", "lose mirror"]), max_size=12))
async def test_the_keystore_agrees_with_a_dictionary(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Folder(tmp_path_factory.mktemp("keystore"))
    keystore = await folder.open()
    model: dict[AccountNo, Slot] = {}
    for step in steps:
        match step:
            case "allocate":
                account = await keystore.allocate()
                assert account not in model
                model[account] = Slot.USED
            case "destroy" if model:
                account = max(model)
                await keystore.destroy(account)
                model[account] = Slot.DESTROYED
            case "lose home" | "lose mirror":
                place = folder.home if step == "lose home" else folder.mirror
                for path in place.iterdir():
                    path.unlink()
                keystore = await folder.open()
            case _:
                keystore = await folder.open()
        assert {account: keystore.state(account) for account in model} == model
        assert all((keystore.cipher(account) is not None) == (state is Slot.USED) for account, state in model.items())


@pytest.fixture(autouse=True)
async def _no_task_is_left_behind() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    assert not {task for task in asyncio.all_tasks() - before if "_write_groups" in repr(task)}
