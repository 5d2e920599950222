"""`hutong audit`: proof of where every byte is."""

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import asyncpg
import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hutong.commands.common import Failed, as_json_option, console, load, operator_errors, print_json, where_the_data_is
from hutong.commands.databases import databases
from hutong.commands.folder import nothing_in
from hutong.config import Config
from hutong.engines.postgres import EmbeddedPostgres
from hutong.residency import service
from hutong.residency.explain import explain as explain_finding
from hutong.residency.explain import lines
from hutong.residency.report import Report, show
from hutong.schema import TABLES

LAST_REPORT = "audit.json"
"""In the data folder; it says where something was found, never what."""

EXAMPLES = """\b
Examples:
  hutong audit residency                             every byte at rest, in every region
  hutong audit residency --json > report.json        for a program
  hutong audit residency --marker "a secret phrase"  also look for this, wherever it may be
  hutong audit explain 1                             what the first finding means, and what to do
Exit status: 0 clean, 1 findings, 2 it could not look everywhere, so it is no proof.
"""


@click.group(epilog=EXAMPLES)
def audit() -> None:
    """Prove where everybody's data is."""


@audit.command(epilog=EXAMPLES)
@where_the_data_is
@click.option(
    "--pgdata",
    multiple=True,
    metavar="REGION=FOLDER",
    help="Where the files of a region's PostgreSQL are, when it is given by a DSN. Can be repeated.",
)
@click.option("--marker", multiple=True, help="Look for this string too; somebody's record must open to it.")
@click.option("--markers-file", type=click.File("rb"), help="The same, one string a line.")
@as_json_option
@click.pass_context
@operator_errors
def residency(
    context: click.Context, data: Path | None, config_file: Path | None, pgdata: tuple[str, ...],
    marker: tuple[str, ...], markers_file: Any, as_json: bool,
) -> None:  # fmt: skip
    """Read every byte at rest in every region, and report what is where it must not be.

    Beside a running node, or on a stopped one, whose databases are then started for as long as it takes. It looks for
    what sealed records open to, in clear and in every usual encoding, and proves that it would have found it.
    """
    config = load(config_file, data)
    given = [text.encode() for text in marker]
    if markers_file is not None:
        given += [line for line in markers_file.read().splitlines() if line.strip()]
    try:
        report = asyncio.run(_audit(config, _folders(config, pgdata), given))
    except service.CannotLook as error:
        raise Failed(str(error)) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # A node that stops meanwhile takes its databases along.
        raise Failed(f"the audit could not be finished: {error}; try again") from None
    said = report.to_json()
    _keep(config.data / LAST_REPORT, json.dumps(said, indent=1))
    if as_json:
        print_json(said)
    else:
        show(report, console())
    context.exit(report.status)


@audit.command()
@where_the_data_is
@click.argument("number", type=click.IntRange(1))
@as_json_option
@operator_errors
def explain(data: Path | None, config_file: Path | None, number: int, as_json: bool) -> None:
    """Say what finding NUMBER of the last audit means, and what to do."""
    config = load(config_file, data)
    try:
        explained = explain_finding(json.loads((config.data / LAST_REPORT).read_text()), number)
    except FileNotFoundError:
        raise Failed(f"there was no audit of {config.data} yet: `hutong audit residency` makes one") from None
    except LookupError as error:
        raise Failed(str(error)) from None
    if as_json:
        print_json(explained)
    else:
        click.echo("\n".join(lines(explained)))


def _folders(config: Config, pgdata: tuple[str, ...]) -> dict[str, Path]:
    folders = {}
    for said in pgdata:
        region, sign, folder = said.partition("=")
        if not sign or region not in {each.name for each in config.regions}:
            raise Failed(f'--pgdata "{said}" is not REGION=FOLDER with one of the regions')
        if not (Path(folder) / "PG_VERSION").exists():
            raise Failed(f"--pgdata {region}: {folder} is no folder of a PostgreSQL cluster: it has no PG_VERSION")
        folders[region] = Path(folder).absolute()
    return folders


async def _audit(config: Config, pgdata: dict[str, Path], given: list[bytes]) -> Report:
    here = [region for region in config.regions if config.region_dir(region.name).is_dir()]
    if away := pgdata.keys() - {region.name for region in here}:
        raise Failed(f"--pgdata {min(away)}: nothing of this region is in {config.data}: its keys are to be there")
    if not here:
        raise Failed(nothing_in(config.data))
    async with AsyncExitStack() as stack:
        dsns: dict[int, str] = dict(
            await stack.enter_async_context(databases(config, [region.name for region in here]))
        )
        admins: dict[str, Callable[[str], str]] = {}
        for region in here:
            if all(cell.database is None for cell in region.cells):
                cluster = EmbeddedPostgres(config.postgres_dir(region.name))
                admins[region.name] = cluster.admin_dsn
                dsns.update((cell.number, cluster.admin_dsn(cell.database_name)) for cell in region.cells)
        watcher = stack.enter_context(_Bar())
        return await service.audit(config, service.Given(dsns, admins, pgdata, given), TABLES, watcher)


def _keep(path: Path, text: str) -> None:
    """Write the report, readable by its owner only."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:
        return  # a folder that is only read is audited all the same
    with os.fdopen(file, "w") as opened:
        opened.write(text)


class _Bar:
    """The progress bar, on standard error and on terminals only."""

    def __init__(self) -> None:
        screen = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), DownloadColumn(),
            TimeElapsedColumn(), console=screen, transient=True, disable=not screen.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def stage(self, what: str, total_bytes: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total_bytes or None)

    def advance(self, done_bytes: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, done_bytes)
