"""When an audit is no proof it says so: status 2, and why."""

import json
import shutil
from pathlib import Path

import aiohttp
import pytest

from hutong import config
from hutong.engines.node_lock import holder
from hutong.engines.postgres import EmbeddedPostgres
from hutong.node import start
from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF
from tests.residency.conftest import Place
from tests.residency.scene import CLEAN, audit
from tests.support.client import Client, Http
from tests.support.places import data_folder, free_ports

REGIONS = {"cn": 1, "eu": 2, "ru": 3}


async def test_a_string_that_nobody_wrote_proves_nothing(site: Place) -> None:
    result = await audit(site.data, "--marker", "a sentence that nobody has ever written")
    assert result.status == 2
    assert "no sealed record opens to it" in result.report["problems"][0]
    assert result.report["findings"] == []


async def test_a_folder_that_is_no_cluster_is_refused(site: Place) -> None:
    missing = site.folder / "nowhere"
    result = await audit(site.data, "--pgdata", f"cn={missing}")
    assert result.status == 2
    assert "no PG_VERSION" in result.error


@pytest.fixture(scope="module")
def by_dsn(site: Place) -> tuple[Path, Path]:
    """The same node as if its databases were given by DSN: a folder without them, and settings that name them."""
    keys = site.folder / "keys"
    shutil.copytree(site.data, keys, ignore=shutil.ignore_patterns("postgres", "logs", "*.sock", "node.lock"))
    lines = []
    for name, number in REGIONS.items():
        dsn = EmbeddedPostgres(site.node.config.postgres_dir(name)).admin_dsn("cell0")
        server = f"{name}.localhost"
        lines += [
            f"[regions.{name}]",
            f"number = {number}",
            f'server_name = "{server}"',
            f"database = {json.dumps(dsn)}",
        ]
    settings = site.folder / "dsn.toml"
    settings.write_text("\n".join(lines) + "\n")
    return keys, settings


async def test_without_its_files_a_database_cannot_be_audited(by_dsn: tuple[Path, Path]) -> None:
    keys, settings = by_dsn
    result = await audit(keys, "--config", settings)
    assert result.status == 2
    assert "Run the audit on the machine that has them, with --pgdata cn=" in str(result.report or result.error)


async def test_with_its_files_a_database_given_by_dsn_is_audited(by_dsn: tuple[Path, Path], site: Place) -> None:
    keys, settings = by_dsn
    folders = [text for name in REGIONS for text in ("--pgdata", f"{name}={site.data / name / 'postgres'}")]
    result = await audit(keys, "--config", settings, *folders)
    assert result.outcome == CLEAN


async def test_with_the_files_of_another_database_its_control_fails(by_dsn: tuple[Path, Path], site: Place) -> None:
    keys, settings = by_dsn
    other = site.folder / "other"
    other.mkdir()
    (other / "PG_VERSION").write_text("18\n")
    folders = [text for name in REGIONS for text in ("--pgdata", f"{name}={site.data / name / 'postgres'}")]
    folders[-1] = f"ru={other}"
    result = await audit(keys, "--config", settings, *folders)
    assert result.status == 2
    (problem,) = result.report["problems"]
    assert problem.startswith("region ru: the scan cannot be trusted")
    assert result.report["controls"]["ru"]["met"] == 0


async def test_a_stopped_node_is_audited_and_stays_stopped(session: aiohttp.ClientSession) -> None:
    with data_folder("stopped") as folder:
        (folder / "hutong.toml").write_text(LIMITS_OFF + CHEAP_PASSWORDS)
        node = await start(config.load(folder / "hutong.toml", {}, data=folder / "data", port=free_ports()))
        try:
            http = Http(session, node.base_url, None)
            alice = await Client(http, "alice.of.the.old.plum.tree", "cn").register()
            room = await alice.create_room(name="The courtyard of the plum tree")
            await alice.send(room, "Nine o'clock, under the old plum tree")
        finally:
            await node.stop()
        result = await audit(folder / "data")
        assert result.outcome == CLEAN
        assert result.report["controls"]["cn"]["met"] > 4
        (folder / "data" / "eu" / "note.txt").write_text("see you under the old plum tree")
        assert (await audit(folder / "data")).status == 1
        assert holder(folder / "data") is None
        assert not any(EmbeddedPostgres(folder / "data" / name / "postgres").running() for name in REGIONS)


async def test_without_any_data_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    result = await audit(tmp_path)
    assert result.status == 2
    assert "no region of the configuration has anything in" in result.error
