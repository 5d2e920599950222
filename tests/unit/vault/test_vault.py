import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hutong.ids import BUCKETS, AccountNo
from hutong.vault.blind import BlindIndex
from hutong.vault.keystore import Keystore
from hutong.vault.rootkey import RootKeyError, load_root_key, subkey
from hutong.vault.vault import OVERHEAD_BYTES, Gone, Unopenable, Vault

ID = bytes(range(16))


@pytest.fixture
async def keystore(tmp_path: Path) -> Keystore:
    keystore = await Keystore.open(tmp_path / "k", tmp_path / "m", bytes(32), "ru", random=os.urandom)
    await keystore.allocate()
    await keystore.allocate()
    return keystore


ALICE, BOB = AccountNo(1), AccountNo(2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plain=st.binary(max_size=2_000), id=st.binary(min_size=16, max_size=16))
async def test_what_is_sealed_opens_and_is_not_readable(keystore: Keystore, plain: bytes, id: bytes) -> None:
    vault = Vault(keystore, os.urandom)
    sealed = vault.seal(ALICE, id, plain)
    assert vault.open(ALICE, id, sealed) == plain
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert len(plain) < 4 or bytes(sealed).find(plain) == -1
    assert vault.seal(ALICE, id, plain) != sealed


async def test_it_opens_for_its_account_and_id_only(keystore: Keystore) -> None:
    vault = Vault(keystore, os.urandom)
    sealed = vault.seal(ALICE, ID, b"words")
    with pytest.raises(Unopenable):
        vault.open(BOB, ID, sealed)
    with pytest.raises(Unopenable):
        vault.open(ALICE, bytes(16), sealed)
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(Unopenable):
            vault.open(ALICE, ID, bytes(changed))
    for length in (0, 11, 12, 27, len(sealed) - 1):
        with pytest.raises(Unopenable):
            vault.open(ALICE, ID, sealed[:length])


async def test_an_account_without_a_key_is_gone(keystore: Keystore) -> None:
    vault = Vault(keystore, os.urandom)
    sealed = vault.seal(ALICE, ID, b"words")
    await keystore.destroy(ALICE)
    for account in (ALICE, AccountNo(77), AccountNo(10_000)):
        with pytest.raises(Gone):
            vault.open(account, ID, sealed)
        with pytest.raises(Gone):
            vault.seal(account, ID, b"words")


def test_a_root_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "ru" / "root.key"
    key = load_root_key(path, [tmp_path / "ru" / "cell0" / "keystore"])
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_root_key(path, []) == key
    assert list(path.parent.iterdir()) == [path]


def test_a_root_key_is_not_made_anew_beside_a_keystore(tmp_path: Path) -> None:
    keystore = tmp_path / "keystore"
    keystore.mkdir()
    (keystore / "page-00000000").write_bytes(b"sealed")
    with pytest.raises(RootKeyError, match=r"root\.key is missing, and .*keystore is sealed under it"):
        load_root_key(tmp_path / "root.key", [keystore])
    assert not (tmp_path / "root.key").exists()


@pytest.mark.parametrize("text", ["", "hutong-root-key-1 ", "hutong-root-key-1 abcd\n", "00" * 32, "\xff" * 40])
def test_a_file_that_is_no_root_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RootKeyError, match=r"root\.key"):
        load_root_key(path, [])


def test_subkeys_differ_by_purpose_and_root() -> None:
    assert len({subkey(root, purpose) for root in (bytes(32), b"x" * 32) for purpose in ("a", "b")}) == 4


@given(st.text(max_size=60).filter(lambda text: text.isprintable()))
def test_blind_indexes_say_nothing_across_purposes_or_regions(text: str) -> None:
    here, there = BlindIndex(bytes(32)), BlindIndex(b"x" * 32)
    hashes = [index.name(text) for index in (here, there)] + [index.type_key(text) for index in (here, there)]
    hashes += [here.transaction("/send", text), here.transaction("/state", text)]
    assert len(set(hashes)) == len(hashes)
    assert all(len(value) == 16 for value in hashes)
    assert here.name(text) == BlindIndex(bytes(32)).name(text)
    assert here.device(text) != there.device(text)
    assert 0 <= here.device(text) < 2**63
    assert 0 <= here.bucket(text) < BUCKETS


def test_buckets_are_spread() -> None:
    index = BlindIndex(bytes(32))
    assert len({index.bucket(f"person{number}") for number in range(1_000)}) > 850
