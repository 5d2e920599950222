"""`hutong doctor`: what is wrong with this installation, in plain words, and what to do. It changes nothing."""

import asyncio
import os
import platform
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

from hutong import __version__
from hutong.commands.common import (
    CLEAN,
    FINDINGS,
    Failed,
    as_json_option,
    console,
    load,
    operator_errors,
    print_json,
    where_the_data_is,
)
from hutong.commands.databases import connected
from hutong.config import Cell, Config, Region
from hutong.engines.binaries import EngineMissing, binaries
from hutong.engines.migrations import WrongDatabase, read_rev
from hutong.engines.node_lock import Holder, holder
from hutong.engines.postgres import EmbeddedPostgres
from hutong.engines.postgres_conf import REQUIRED
from hutong.engines.process import OPEN_FILES_ENOUGH
from hutong.engines.structure import differences
from hutong.schema import TABLES

FREE_BYTES_ENOUGH = 2 << 30
VERSION_MIN = 160_000

EXAMPLES = """\b
Examples:
  hutong doctor                       the demo in ./data
  hutong doctor --config hutong.toml  also looks at the databases that it names
  hutong doctor --json
"""


@dataclass(frozen=True)
class Check:
    """One thing looked at. `advice` says what to do about a finding."""

    subject: str
    state: Literal["good", "note", "wrong"]
    found: str
    advice: str = ""


@click.command(epilog=EXAMPLES)
@where_the_data_is
@click.option("--port", metavar="N", help="The port that the node is to serve on.")
@as_json_option
@operator_errors
def doctor(data: Path | None, config_file: Path | None, port: str | None, as_json: bool) -> None:
    """Look for what is wrong with this installation. Exit status 1 when something is."""
    config = load(config_file, data, port=port)
    held = holder(config.data)
    if held is not None and held.port:
        config = load(config_file, data, port=held.port)  # where it does serve, whatever is said here
    checks = asyncio.run(_all(config, held))
    wrong = [check for check in checks if check.state == "wrong"]
    if as_json:
        print_json({"hutong": __version__, "checks": [asdict(check) for check in checks], "wrong": len(wrong)})
    else:
        _print(checks)
    raise SystemExit(FINDINGS if wrong else CLEAN)


def _print(checks: list[Check]) -> None:
    out = console()
    signs = {"good": "[green]✓[/]", "note": "[yellow]·[/]", "wrong": "[red]✗[/]"}
    width = max(len(check.subject) for check in checks)
    for check in checks:
        out.print(f"{signs[check.state]} {check.subject:<{width}}  {check.found}", soft_wrap=True)
        if check.advice:
            out.print(f"  {'':<{width}}  [bold]{check.advice}[/]", soft_wrap=True)
    wrong = sum(check.state == "wrong" for check in checks)
    out.print(f"\n{wrong} of {len(checks)} {'is' if wrong == 1 else 'are'} wrong." if wrong else "\nNothing is wrong.")


async def _all(config: Config, held: Holder | None) -> list[Check]:
    checks = [_python(), _settings(config), *_engines(config), *_data(config, held), *_ports(config, held), _files()]
    for region in config.local_regions:
        checks += _keystores(config, region)
        checks += await _databases(config, region)
    return checks


def _python() -> Check:
    return Check("Python", "good", f"{platform.python_version()} in {sys.prefix}; hutong {__version__}")


def _settings(config: Config) -> Check:
    regions = ", ".join(f"{region.name} ({region.server_name})" for region in config.regions)
    file = config.file or "none, so the demo"
    return Check("settings", "good", f"{file}: {regions}; registration {config.registration}")


def _engines(config: Config) -> Iterator[Check]:
    if all(cell.database for region in config.local_regions for cell in region.cells):
        return
    try:
        found = binaries()
    except EngineMissing as error:
        yield Check("PostgreSQL", "wrong", "the embedded one cannot be run", str(error))
        return
    user = "this user" if not found.other_user else f"user {found.uid}, because PostgreSQL does not run as root"
    yield Check("PostgreSQL", "good", f"{found.server}; runs under {user}")


def _data(config: Config, held: Holder | None) -> Iterator[Check]:
    folder = config.data
    if not folder.exists():
        above = next(parent for parent in folder.parents if parent.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            yield Check("data", "wrong", f"{folder} is not there", f"let this user write to {above}, or give --data")
        else:
            yield Check("data", "note", f"{folder} is not there yet: `hutong serve` makes it")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Check("data", "wrong", f"{folder} belongs to another user", "run hutong as the user who owns it")
        return
    free = shutil.disk_usage(folder).free
    enough = free >= FREE_BYTES_ENOUGH
    yield Check(
        "data",
        "good" if enough else "wrong",
        f"{folder}, {free / (1 << 30):.1f} GiB free",
        "" if enough else "make room: a full disk stops every send",
    )
    for region in config.local_regions:
        path = config.region_dir(region.name)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o022:
            yield Check("data", "wrong", f"others can write to {path}", f"chmod go-w {path}")
    if held is not None:
        yield Check("node", "good", f"process {held.pid} serves since {held.since:%Y-%m-%d %H:%M} UTC")
    else:
        yield Check("node", "note", "none is running on this folder")


def _ports(config: Config, held: Holder | None) -> Iterator[Check]:
    wanted = [("all regions", config.port)]
    wanted += [(region.name, region.port) for region in config.local_regions if region.port]
    if config.metrics.port:
        wanted.append(("metrics", config.metrics.port))
    taken = [f"{port} ({name})" for name, port in wanted if port and not _free(config.host, port)]
    ports = ", ".join(str(port) for _, port in wanted)
    if held is not None:
        if not held.port:
            yield Check("ports", "note", "the system chose them; the node said them when it had started")
        elif taken:
            yield Check("ports", "good", f"{', '.join(taken)} in use, by the node")
        else:
            yield Check("ports", "note", f"{ports} not in use yet: the node is starting or stopping")
    elif taken:
        advice = "give --port another, or stop it"
        yield Check("ports", "wrong", f"in use by another process: {', '.join(taken)}", advice)
    else:
        yield Check("ports", "good", f"{ports} can be had on {config.host}")


def _free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _files() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES_ENOUGH:
        advice = f"raise it to {OPEN_FILES_ENOUGH:,} or more (LimitNOFILE= in a systemd unit, ulimit -Hn in a shell)"
        return Check("open files", "wrong", f"at most {hard:,}: so many clients can wait at once", advice)
    return Check("open files", "good", "no limit" if hard == resource.RLIM_INFINITY else f"up to {hard:,}")


def _keystores(config: Config, region: Region) -> Iterator[Check]:
    subject = f"{region.name} keys"
    key = config.root_key(region.name)
    places = [place for cell in region.cells for place in (config.keystore_dir(cell), config.mirror_dir(cell))]
    if not key.exists() and not any(place.exists() for place in places):
        yield Check(subject, "note", "not made yet")
        return
    if not key.exists():
        yield Check(subject, "wrong", f"{key} is missing", "put it back; without it no content can be opened")
    elif stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield Check(subject, "wrong", f"others can read {key}", f"chmod 600 {key}")
    for cell in region.cells:
        directory, mirror = config.keystore_dir(cell), config.mirror_dir(cell)
        if not directory.exists() and not mirror.exists():
            yield Check(subject, "note", f"cell {cell.index} has no keystore yet")
            continue
        different = _different(directory, mirror)
        if different:
            # A running node writes one after the other.
            different &= _different(directory, mirror)
        if different:
            names = ", ".join(sorted(different)[:3])
            advice = "start the node: it heals one from the other"
            yield Check(subject, "wrong", f"{directory} and its mirror differ: {names}", advice)
        elif directory.stat().st_dev == mirror.stat().st_dev:
            yield Check(
                subject,
                "note",
                f"keystore and mirror agree, on the same disk: {mirror}",
                f"in earnest, set regions.{region.name}.keystore_mirror to another disk of the same jurisdiction",
            )
        else:
            yield Check(subject, "good", f"keystore and mirror agree, on two disks: {mirror}")


def _different(directory: Path, mirror: Path) -> set[str]:
    """The names of files that are not the same in both."""
    names = {path.name for place in (directory, mirror) if place.exists() for path in place.iterdir()}
    return {name for name in names if not name.endswith(".new") and _bytes(directory / name) != _bytes(mirror / name)}


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


async def _databases(config: Config, region: Region) -> list[Check]:
    subject = f"{region.name} database"
    checks: list[Check] = []
    cluster = EmbeddedPostgres(config.postgres_dir(region.name))
    for cell in region.cells:
        dsn = cell.database
        if dsn is None:
            if not cluster.exists:
                checks.append(Check(subject, "note", f"cell {cell.index}: not made yet"))
                continue
            if not cluster.running():
                checks.append(Check(subject, "note", f"cell {cell.index}: stopped, so not looked at"))
                continue
            dsn = cluster.dsn(cell.database_name)
        try:
            async with connected(dsn, cell) as connection:
                checks += await _database(connection, cell, subject)
        except (Failed, WrongDatabase) as error:
            checks.append(Check(subject, "wrong", str(error), "see that it runs, and that the DSN is right"))
    return checks


async def _database(connection: Any, cell: Cell, subject: str) -> list[Check]:
    checks = []
    version = int(await connection.fetchval("SHOW server_version_num"))
    if version < VERSION_MIN:
        checks.append(Check(subject, "wrong", f"cell {cell.index}: PostgreSQL {version // 10_000}", "use 16 or newer"))
    for name, valid in REQUIRED.items():
        value = await connection.fetchval(f"SHOW {name}")
        if value not in valid:
            advice = f"set {name} = {valid[0]}"
            checks.append(Check(subject, "wrong", f"cell {cell.index}: {name} is {value}", advice))
    collation = await connection.fetchval("SELECT datcollate FROM pg_database WHERE datname = current_database()")
    if collation not in ("C", "POSIX"):
        advice = "make the database anew: CREATE DATABASE ... TEMPLATE template0 LOCALE 'C'"
        checks.append(Check(subject, "wrong", f"cell {cell.index}: its collation is {collation}", advice))
    await connection.execute("SELECT set_config('hutong.doctor', $1, false)", str(os.getpid()))
    if await connection.fetchval("SELECT current_setting('hutong.doctor', true)") != str(os.getpid()):
        advice = "give the DSN of PostgreSQL itself: the writer's lock needs a session of its own"
        checks.append(Check(subject, "wrong", f"cell {cell.index}: a pooler stands before it", advice))
    rev = await read_rev(connection, cell.number)
    if rev is None:
        return [*checks, Check(subject, "note", f"cell {cell.index}: PostgreSQL {version // 10_000}, no tables yet")]
    advice = "it is not as this hutong made it"
    found = await differences(connection, TABLES)
    checks += [Check(subject, "wrong", f"cell {cell.index}: {difference}", advice) for difference in found]
    if not checks:
        said = f"cell {cell.index}: PostgreSQL {version // 10_000}.{version % 10_000}, generation {rev.gen}"
        checks.append(Check(subject, "good", f"{said}, {len(TABLES)} tables as declared"))
    return checks
