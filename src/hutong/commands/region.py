"""`hutong region`: the regions, and their backups.

A backup holds what the databases of a region hold: envelopes, and content sealed under keys that are not in it. The
keystore stays where it is; so a restored backup opens for everybody but those who were erased in the meantime.
"""

import asyncio
import json
import os
import secrets
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from hutong import __version__
from hutong.commands.common import (
    Failed,
    as_json_option,
    load,
    operator_errors,
    print_json,
    print_table,
    region_of,
    where_the_data_is,
)
from hutong.commands.databases import connected, databases
from hutong.commands.folder import regions_in
from hutong.config import Cell, Config, Region
from hutong.engines import backup as tools
from hutong.engines.migrations import GEN_MAX, migrations, read_rev, restored_sql
from hutong.engines.postgres import EmbeddedPostgres
from hutong.ids import Minute
from hutong.vault.keystore import Keystore
from hutong.vault.rootkey import load_root_key

FORMAT = 1
MANIFEST = "hutong-backup.json"

EXAMPLES = """\b
Examples:
  hutong region list
  hutong region backup ru /backup/ru.hutong    while the node runs, or while it does not
  hutong region restore ru /backup/ru.hutong   with the node stopped
  hutong region restored ru                    after you restored the database by other means
"""


@click.group(epilog=EXAMPLES)
def region() -> None:
    """The regions of a node, and their backups."""


@region.command("list")
@where_the_data_is
@as_json_option
@operator_errors
def list_regions(data: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Show the regions, and what their databases say of themselves."""
    config = load(config_file, data)
    report = asyncio.run(_list(config))
    if as_json:
        print_json(report)
        return
    columns = ("region", "number", "server name", "cell", "database", "state", "generation", "accounts", "rooms")
    rows = [
        (one["region"], one["number"], one["server_name"], cell["cell"], cell["database"], cell["state"],
         cell["generation"], cell["accounts"], cell["rooms"])
        for one in report for cell in one["cells"]
    ]  # fmt: skip
    print_table(columns, rows, right=("number", "cell", "generation", "accounts", "rooms"))


async def _list(config: Config) -> list[dict[str, Any]]:
    regions_in(config)
    report = []
    for one in config.regions:
        cells = []
        for cell in one.cells:
            state, facts = "stopped", {"generation": None, "accounts": None, "rooms": None}
            dsn = cell.database
            if dsn is None:
                cluster = EmbeddedPostgres(config.postgres_dir(one.name))
                if not cluster.exists:
                    state = "not made yet"
                elif cluster.running():
                    dsn = cluster.dsn(cell.database_name)
            if dsn is not None:
                try:
                    facts = await _facts(dsn, cell)
                    state = "running"
                except Failed as error:
                    state = str(error)
            kind = "embedded" if cell.database is None else "given"
            cells.append({"cell": cell.index, "database": kind, "state": state, **facts})
        report.append({"region": one.name, "number": one.number, "server_name": one.server_name, "cells": cells})
    return report


async def _facts(dsn: str, cell: Cell) -> dict[str, Any]:
    async with connected(dsn, cell) as connection:
        rev = await read_rev(connection, cell.number)
        if rev is None:
            return {"generation": None, "accounts": None, "rooms": None}
        return {
            "generation": rev.gen,
            "accounts": await connection.fetchval("SELECT count(*) FROM accounts WHERE state = 1"),
            "rooms": await connection.fetchval("SELECT count(*) FROM rooms"),
        }


@region.command()
@where_the_data_is
@click.argument("name", metavar="REGION")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Put it in place of a FILE that is there; that stays until this is whole.")
@as_json_option
@operator_errors
def backup(data: Path | None, config_file: Path | None, name: str, file: Path, force: bool, as_json: bool) -> None:
    """Write the databases of REGION into FILE. The keystore is not in it: it never leaves its place.

    Keep FILE in the same jurisdiction. Its content is sealed; its envelopes say who wrote in which room, and when.
    """
    config = load(config_file, data)
    one = region_of(config, name)
    if file.exists() and not force:
        raise Failed(f"{file} is there already: give the backup another name, or --force to replace it")
    report = asyncio.run(_backup(config, one, file))
    if as_json:
        print_json(report)
        return
    click.echo(f"{file}: {report['bytes']:,} bytes, {len(report['cells'])} cell(s) of {name}.")
    click.echo("Next: put it on another disk in the same jurisdiction; the keystore has its mirror, see docs/backup.md")


async def _backup(config: Config, one: Region, file: Path) -> dict[str, Any]:
    if not file.absolute().parent.is_dir():
        raise Failed(f"there is no folder {file.absolute().parent}: make it, or give another place for the backup")
    unfinished = file.with_name(file.name + ".part")
    async with databases(config, [one.name]) as dsns:
        cells = []
        for cell in one.cells:
            async with connected(dsns[cell.number], cell) as connection:
                rev = await read_rev(connection, cell.number)
            if rev is None:
                raise Failed(f"cell {cell.index} of {one.name} has no tables yet: start the node once")
            said = {"cell": cell.number, "index": cell.index, "buckets": [cell.buckets.start, cell.buckets.stop]}
            cells.append({**said, "generation": rev.gen, "schema": rev.schema})
        manifest = {
            "format": FORMAT,
            "hutong": __version__,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "region": one.name,
            "number": one.number,
            "server_name": one.server_name,
            "cells": cells,
        }
        try:
            await asyncio.to_thread(_write, unfinished, manifest, [(c.index, dsns[c.number]) for c in one.cells])
            unfinished.replace(file)
        except (tools.ToolFailed, OSError) as error:
            raise Failed(f"no backup was written: {error}") from None
        finally:
            unfinished.unlink(missing_ok=True)
    return {"file": str(file), "bytes": file.stat().st_size, **manifest}


def _write(file: Path, manifest: dict[str, Any], cells: list[tuple[int, str]]) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w+b") as output:
        with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(MANIFEST, json.dumps(manifest, indent=2))
            for index, dsn in cells:
                with archive.open(f"cell{index}.dump", "w", force_zip64=True) as part:
                    tools.dump(dsn, part)
        output.flush()
        os.fsync(output.fileno())


@region.command()
@where_the_data_is
@click.argument("name", metavar="REGION")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
@operator_errors
def restore(data: Path | None, config_file: Path | None, name: str, file: Path, yes: bool, as_json: bool) -> None:
    """Put FILE in place of what the databases of REGION hold, and give them a new generation.

    What was sent after the backup is lost; people registered after it are unknown; people erased after it stay erased:
    their keys are gone. Clients start afresh, so that none misses a message. The node must be stopped.
    """
    config = load(config_file, data)
    one = region_of(config, name)
    manifest = _manifest(file, one)
    regions_in(config)
    if not yes:
        click.confirm(
            f"Replace everything in the databases of {name} with the backup of {manifest['made']}?",
            abort=True,
            err=True,
        )
    report = asyncio.run(_restore(config, one, file))
    if as_json:
        print_json(report)
    else:
        click.echo(f"{name} is as it was at {manifest['made']}, generation {_gens(report)}. Start the node again.")


def _manifest(file: Path, one: Region) -> dict[str, Any]:
    """What `file` says of itself. Raises: Failed when it is no backup of region `one` as it is configured now."""
    try:
        with zipfile.ZipFile(file) as archive:
            manifest: dict[str, Any] = json.loads(archive.read(MANIFEST))
    except (zipfile.BadZipFile, KeyError, ValueError):
        raise Failed(f"{file} is no backup of hutong's, or only half of one. Nothing was changed.") from None
    mine: list[tuple[str, Any, Any]] = [
        ("format", manifest.get("format"), FORMAT),
        ("region", manifest.get("region"), one.name),
        ("number", manifest.get("number"), one.number),
        ("server name", manifest.get("server_name"), one.server_name),
        ("cells", [c["buckets"] for c in manifest["cells"]], [[c.buckets.start, c.buckets.stop] for c in one.cells]),
    ]
    for what, there, here in mine:
        if there != here:
            raise Failed(f"{file}: its {what} is {there}, that of {one.name} here is {here}. Nothing was changed.")
    newest = max(cell["schema"] for cell in manifest["cells"])
    if newest > len(migrations()):
        raise Failed(f"{file} was written by a newer hutong ({manifest['hutong']}). Nothing was changed.")
    return manifest


async def _restore(config: Config, one: Region, file: Path) -> dict[str, Any]:
    gens = {}
    async with databases(config, [one.name], alone=True) as dsns:
        keystores = await _keystores(config, one)
        for cell in one.cells:
            gens[cell.index] = secrets.randbelow(GEN_MAX - 1) + 1
            try:
                await asyncio.to_thread(_read, file, cell.index, dsns[cell.number], gens[cell.index])
            except (tools.ToolFailed, zipfile.BadZipFile, OSError) as error:
                raise Failed(f"cell {cell.index} of {one.name} was not restored and is as it was: {error}") from None
            await _head(keystores[cell.index], cell, dsns[cell.number], gens[cell.index])
    return {"region": one.name, "generations": gens}


def _read(file: Path, index: int, dsn: str, gen: int) -> None:
    with zipfile.ZipFile(file) as archive, archive.open(f"cell{index}.dump") as part:
        tools.restore(dsn, part, gen, _minute())


def _minute() -> Minute:
    return Minute(int(time.time() // 60))


@region.command()
@where_the_data_is
@click.argument("name", metavar="REGION")
@as_json_option
@operator_errors
def restored(data: Path | None, config_file: Path | None, name: str, as_json: bool) -> None:
    """Say that the databases of REGION were restored by other means, so that clients start afresh.

    Without it a start is refused when a database lies behind what the keystore last saw. The node must be stopped.
    """
    config = load(config_file, data)
    report = asyncio.run(_restored(config, region_of(config, name)))
    if as_json:
        print_json(report)
    else:
        click.echo(f"{name} has generation {_gens(report)} now: every client starts afresh. Start the node again.")


async def _restored(config: Config, one: Region) -> dict[str, Any]:
    gens = {}
    async with databases(config, [one.name], alone=True) as dsns:
        keystores = await _keystores(config, one)
        for cell in one.cells:
            gens[cell.index] = secrets.randbelow(GEN_MAX - 1) + 1
            async with connected(dsns[cell.number], cell) as connection:
                if await read_rev(connection, cell.number) is None:
                    raise Failed(f"cell {cell.index} of {one.name} has no tables: restore its database first")
                await connection.execute(restored_sql(gens[cell.index], _minute()))
            await _head(keystores[cell.index], cell, dsns[cell.number], gens[cell.index])
    return {"region": one.name, "generations": gens}


async def _keystores(config: Config, one: Region) -> dict[int, Keystore]:
    """The keystores of a region's cells, by index.

    Raises: Failed when one is not there, KeystoreError, RootKeyError.
    """
    places = [(cell, config.keystore_dir(cell), config.mirror_dir(cell)) for cell in one.cells]
    if not config.root_key(one.name).exists():
        raise Failed(f"{config.root_key(one.name)} is missing: without it no content of {one.name} can be opened")
    for _, directory, mirror in places:
        if not directory.exists() and not mirror.exists():
            raise Failed(f"{directory} is missing, and so is its mirror: a database without its keystore opens nothing")
    root_key = load_root_key(config.root_key(one.name), [place for _, *both in places for place in both])
    return {
        cell.index: await Keystore.open(directory, mirror, root_key, one.name, cell.index, random=os.urandom)
        for cell, directory, mirror in places
    }


async def _head(keystore: Keystore, cell: Cell, dsn: str, gen: int) -> None:
    """Let the keystore's side know where the database stands now, so that the next start accepts it."""
    async with connected(dsn, cell) as connection:
        pos = await connection.fetchval("SELECT coalesce(max(pos), 0) FROM log")
    await keystore.record_head(gen, pos)


def _gens(report: dict[str, Any]) -> str:
    return ", ".join(str(gen) for gen in report["generations"].values())
