"""`python -m bench`, which `make bench` calls."""

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bench import machine, report
from bench.figures import DEFAULT, QUICK, Figure
from bench.figures.registry import FULL, REGISTRY, SMALL, Sizes
from bench.generator import LoadFailed
from bench.results import CEILING, Results
from bench.run import run, steps
from bench.servers import Server
from bench.servers.hutong import Hutong
from bench.servers.process import NotStarted
from bench.servers.synapse import Synapse
from bench.servers.trivial import Trivial

RESULTS = Path(__file__).parent / "RESULTS.md"
SERVERS: dict[str, Callable[[Path], Server]] = {"hutong": Hutong, "synapse": Synapse}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Short windows and small worlds: under four minutes, rough figures.")
@click.option("--servers", default=",".join(SERVERS), show_default=True, help="Which to measure, parted by commas.")
@click.option("--figures", default=",".join(REGISTRY), show_default=True, help="Which figures, parted by commas.")
@click.option(
    "--members", multiple=True, type=click.IntRange(2, 5_000), help="Members of the waiting room; repeatable."
)
@click.option("--at-once", type=click.IntRange(1, 5_000), help="Sends under way.  [default: 64]")
@click.option("--rooms", type=click.IntRange(1, 1_000), help="Rooms they go to.  [default: 20]")
@click.option("--rounds", type=click.IntRange(1, 25), help="Windows per server; their median counts.  [default: 3]")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Where to write the report.  [default: bench/RESULTS.md, with --quick nowhere]",
)
@click.option("--keep", is_flag=True, help="Leave the servers' data and logs where they are.")
def main(
    *,
    quick: bool,
    servers: str,
    figures: str,
    members: tuple[int, ...],
    at_once: int | None,
    rooms: int | None,
    rounds: int | None,
    output: Path | None,
    keep: bool,
) -> None:
    """Measure hutong and Synapse side by side, on this machine, through the public API.

    The first run installs Synapse from PyPI into bench/.synapse. Everything listens on 127.0.0.1 only.
    Exits 1 when a message went missing, came twice or was refused, 2 when it could not measure.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the servers would outlive us
    console = Console(stderr=True)
    plan = QUICK if quick else DEFAULT
    if rounds is not None:
        plan = plan.with_rounds(rounds)
    sizes = SMALL if quick else FULL
    sizes = replace(
        sizes, at_once=at_once or sizes.at_once, rooms=rooms or sizes.rooms, members=members or sizes.members
    )
    chosen = _figures(figures.split(","), sizes)
    directory = Path(tempfile.mkdtemp(prefix="hutong-bench-"))
    directory.chmod(0o755)  # PostgreSQL runs as a user other than root, who must reach its folder
    facts = machine.facts(directory)
    try:
        started = [_server(name, directory) for name in servers.split(",")]
        ceiling = Trivial(_made(directory / "ceiling"))
        with Shown(console, steps(len(started), chosen, plan)) as shown:
            results = asyncio.run(run(started, ceiling, chosen, plan, f"b{secrets.token_hex(3)}", shown))
    except (LoadFailed, NotStarted) as error:
        keep = True
        console.print(
            f"[red]✗[/red] {error}\n  The servers' logs are under {directory}", highlight=False, soft_wrap=True
        )
        sys.exit(2)
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    if output is None and not quick:
        output = RESULTS
    _show(Console(), results, facts)
    if output is not None:
        command = " ".join(["python -m bench", *sys.argv[1:]])
        output.write_text(report.markdown(results, facts, plan, datetime.now(UTC), command))
        console.print(f"written to {os.path.relpath(output)}", highlight=False, soft_wrap=True)
    sys.exit(1 if results.faults() else 0)


def _figures(names: list[str], sizes: Sizes) -> list[Figure]:
    for name in names:
        if name not in REGISTRY:
            raise click.BadParameter(f'"{name}" is none; there are {", ".join(REGISTRY)}', param_hint="--figures")
    return [figure for name in names for figure in REGISTRY[name](sizes)]


def _server(name: str, directory: Path) -> Server:
    if name not in SERVERS:
        raise click.BadParameter(f'"{name}" is none; there are {" and ".join(SERVERS)}', param_hint="--servers")
    return SERVERS[name](_made(directory / name))


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


class Shown:
    """A bar on a terminal; in a log, a line for each thing that is begun."""

    def __init__(self, console: Console, steps: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("", total=steps)
        self._console = console
        self._begun = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def doing(self, what: str, so_far: str = "") -> None:
        self._bar.update(self._task, description=what + so_far)
        if what != self._begun and not self._console.is_terminal:
            self._console.print(what, highlight=False, soft_wrap=True)
        self._begun = what

    def done(self) -> None:
        self._bar.advance(self._task)


def _show(console: Console, results: Results, facts: dict[str, str]) -> None:
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False, soft_wrap=True)
    for server, settings in results.settings.items():
        told = ", ".join(f"{name} {settings[name]}" for name in ("fsync", "synchronous_commit") if name in settings)
        console.print(f"{server} {settings.get('version', '')}: {told}", highlight=False, soft_wrap=True)
    for table in report.tables(results):
        console.print(table)
    for figure in results.figures:
        ceiling = results.median(figure, CEILING)
        if ceiling is not None:
            limit = report.amount(figure.unit, figure.unit.of(ceiling))
            console.print(f"the load generator's own ceiling, {figure.key}: {limit}", highlight=False, soft_wrap=True)
    for warning in report.warnings(results):
        console.print(f"[yellow]![/yellow] {warning}", highlight=False, soft_wrap=True)


main(prog_name="python -m bench")
