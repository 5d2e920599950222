"""A region's backup and its way back, without a node."""

import asyncio
import json
import os
import secrets
import zipfile
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from click.testing import CliRunner, Result

from hutong import config
from hutong.cli import main
from hutong.config import Config
from hutong.engines.migrations import migrate, read_rev
from hutong.engines.node_lock import NodeLock
from hutong.engines.postgres import EmbeddedPostgres
from hutong.vault.keystore import Keystore
from hutong.vault.rootkey import load_root_key

GEN = 77


async def _prepare(settings: Config) -> bytes:
    """What a first start leaves of region ru: root key, keystore with one account, database. Returns the root key."""
    cell = settings.region("ru").cells[0]
    directory, mirror = settings.keystore_dir(cell), settings.mirror_dir(cell)
    key = load_root_key(settings.root_key("ru"), [directory, mirror])
    keystore = await Keystore.open(directory, mirror, key, "ru", cell.index, random=secrets.token_bytes)
    await keystore.allocate()
    await keystore.record_head(GEN, 0)
    cluster = EmbeddedPostgres(settings.postgres_dir("ru"))
    await cluster.start(cell.database_name)
    try:
        connection = await asyncpg.connect(cluster.dsn(cell.database_name))
        await migrate(connection, cell.number, lambda: GEN)
        await connection.execute("INSERT INTO log (pos, kind, room, a, b) VALUES (1, 1, 1, 1, 1)")
        await connection.close()
    finally:
        await cluster.stop()
    return key


async def _sql(settings: Config, sql: str) -> Any:
    cluster = EmbeddedPostgres(settings.postgres_dir("ru"))
    await cluster.start()
    try:
        connection = await asyncpg.connect(cluster.dsn("cell0"))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()
    finally:
        await cluster.stop()


async def _gens(settings: Config) -> tuple[int, int, int]:
    """The generation in the database, and generation and position that the keystore knows."""
    cell = settings.region("ru").cells[0]
    cluster = EmbeddedPostgres(settings.postgres_dir("ru"))
    await cluster.start()
    try:
        connection = await asyncpg.connect(cluster.dsn("cell0"))
        rev = await read_rev(connection, cell.number)
        await connection.close()
    finally:
        await cluster.stop()
    key = load_root_key(settings.root_key("ru"), [])
    head = (
        await Keystore.open(
            settings.keystore_dir(cell), settings.mirror_dir(cell), key, "ru", cell.index, random=secrets.token_bytes
        )
    ).head()
    assert rev is not None
    assert head is not None
    return rev.gen, head.gen, head.pos


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return config.load(None, {}, data=tmp_path_factory.mktemp("region") / "data")


@pytest.fixture(scope="module")
def root_key(settings: Config) -> bytes:
    return asyncio.run(_prepare(settings))


@pytest.fixture
def backup(settings: Config, root_key: bytes, tmp_path: Path) -> Path:
    file = tmp_path / "ru.hutong"
    done = _hutong(settings, "backup", "ru", str(file))
    assert done.exit_code == 0, done.output
    return file


def _hutong(settings: Config, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["region", *arguments, "--data", str(settings.data)], env={"HUTONG_CONFIG": ""})


def test_a_backup_has_the_database_and_not_the_keys(settings: Config, root_key: bytes, backup: Path) -> None:
    with zipfile.ZipFile(backup) as archive:
        assert archive.namelist() == ["hutong-backup.json", "cell0.dump"]
        manifest = json.loads(archive.read("hutong-backup.json"))
    assert (manifest["region"], manifest["cells"][0]["generation"]) == ("ru", asyncio.run(_gens(settings))[0])
    assert backup.stat().st_mode & 0o077 == 0
    written = backup.read_bytes()
    assert root_key not in written
    assert root_key.hex().encode() not in written
    kept = [path for path in (settings.data / "ru" / "cell0").rglob("*") if path.is_file()]
    assert kept
    assert not any(path.read_bytes() in written for path in kept)


def test_a_restore_undoes_what_came_after_and_gives_a_new_generation(settings: Config, backup: Path) -> None:
    before = asyncio.run(_gens(settings))
    asyncio.run(_sql(settings, "INSERT INTO log (pos, kind, room, a, b) VALUES (2, 1, 1, 1, 1)"))
    done = _hutong(settings, "restore", "ru", str(backup), "--yes", "--json")
    assert done.exit_code == 0, done.output
    gen = json.loads(done.output)["generations"]["0"]
    assert gen != before[0]
    assert asyncio.run(_gens(settings)) == (gen, gen, 1)  # the keystore accepts the database that lies behind
    assert asyncio.run(_sql(settings, "SELECT max(pos) FROM log")) == 1


def test_restored_gives_a_new_generation_to_what_is_there(settings: Config, root_key: bytes) -> None:
    before = asyncio.run(_gens(settings))
    done = _hutong(settings, "restored", "ru", "--json")
    assert done.exit_code == 0, done.output
    gen = json.loads(done.output)["generations"]["0"]
    assert gen != before[0]
    assert asyncio.run(_gens(settings)) == (gen, gen, 1)


def test_half_a_file_changes_nothing(settings: Config, backup: Path) -> None:
    before = asyncio.run(_gens(settings))
    backup.write_bytes(backup.read_bytes()[:-30])
    done = _hutong(settings, "restore", "ru", str(backup), "--yes")
    assert done.exit_code == 2
    assert "only half of one. Nothing was changed" in done.output
    assert asyncio.run(_gens(settings)) == before


def test_a_file_that_is_there_is_not_replaced_unasked(settings: Config, root_key: bytes, tmp_path: Path) -> None:
    file = tmp_path / "accounts.xls"
    file.write_text("the only copy")
    done = _hutong(settings, "backup", "ru", str(file))
    assert (done.exit_code, file.read_text()) == (2, "the only copy")
    assert f"{file} is there already: give the backup another name, or --force to replace it" in done.output
    done = _hutong(settings, "backup", "ru", str(file), "--force")
    assert (done.exit_code, zipfile.is_zipfile(file)) == (0, True), done.output


def test_a_backup_of_another_region_is_refused(settings: Config, backup: Path) -> None:
    done = _hutong(settings, "restore", "eu", str(backup), "--yes")
    assert done.exit_code == 2
    assert "its region is ru, that of eu here is eu. Nothing was changed." in done.output


def test_a_running_node_keeps_its_database(settings: Config, backup: Path) -> None:
    lock = NodeLock.acquire(settings.data, 8008)
    try:
        done = _hutong(settings, "restore", "ru", str(backup), "--yes")
    finally:
        lock.release()
    assert done.exit_code == 2
    assert f"is in use by process {os.getpid()}" in done.output


def test_without_its_keystore_a_database_is_not_restored(settings: Config, backup: Path) -> None:
    cell = settings.data / "ru" / "cell0"
    hidden = cell.rename(cell.with_name("hidden"))
    try:
        done = _hutong(settings, "restore", "ru", str(backup), "--yes")
    finally:
        hidden.rename(cell)
    assert done.exit_code == 2
    assert "keystore is missing, and so is its mirror" in done.output


def test_nothing_is_left_running(settings: Config, root_key: bytes) -> None:
    listed = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert any("pytest" in line for line in listed)
    assert not any(str(settings.data) in line for line in listed)


def test_list_says_what_is_there(settings: Config, root_key: bytes) -> None:
    done = _hutong(settings, "list", "--json")
    assert done.exit_code == 0, done.output
    states = {one["region"]: one["cells"][0]["state"] for one in json.loads(done.output)}
    assert states == {"cn": "not made yet", "eu": "not made yet", "ru": "stopped"}
