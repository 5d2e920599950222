"""`python -m bench`, which `make bench` calls."""

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bench import comparisons, machine, report
from bench.comparisons import FIGURES, SERVERS
from bench.figures import DEFAULT, QUICK, Plan
from bench.figures.registry import FULL, SMALL, Sizes
from bench.generator import LoadFailed
from bench.results import Results
from bench.run import Comparison, measure_ceiling, run
from bench.servers import CEILING, Server
from bench.servers.process import NotStarted
from bench.servers.trivial import Trivial

RESULTS = Path(__file__).parent / "RESULTS.md"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Short windows and small worlds: under four minutes, rough figures.")
@click.option("--servers", default=",".join(SERVERS), show_default=True, help="Which to measure, parted by commas.")
@click.option("--figures", default=",".join(FIGURES), show_default=True, help="Which figures, parted by commas.")
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
    names = figures.split(",")
    for name in names:
        if name not in FIGURES:
            raise click.BadParameter(f'"{name}" is none; there are {", ".join(FIGURES)}', param_hint="--figures")
    directory = Path(tempfile.mkdtemp(prefix="hutong-bench-"))
    directory.chmod(0o755)  # PostgreSQL runs as a user other than root, who must reach its folder
    facts = machine.facts(directory)
    try:
        started = [_server(name, directory) for name in servers.split(",")]
        with Shown(console) as shown:
            results, *parts = asyncio.run(_measure(started, names, sizes, plan, directory, shown))
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
    _show(Console(), results, parts, facts)
    if output is not None:
        command = " ".join(["python -m bench", *sys.argv[1:]])
        output.write_text(report.markdown(results, parts, facts, plan, datetime.now(UTC), command))
        console.print(f"written to {os.path.relpath(output)}", highlight=False, soft_wrap=True)
    sys.exit(1 if any(each.faults() for each in (results, *parts)) else 0)


async def _measure(
    servers: list[Server], names: list[str], sizes: Sizes, plan: Plan, directory: Path, shown: "Shown"
) -> list[Results]:
    """Hutong beside Synapse, then each other comparison that is asked for. Raises: LoadFailed, NotStarted."""
    prefix = f"b{secrets.token_hex(3)}"
    chosen = comparisons.figures(names, sizes)
    main = Comparison(servers if chosen else [], chosen, plan)
    shown.more(main.steps + sum(figure.has_ceiling for figure in chosen))
    found = [await run(main, prefix, shown)]
    if any(figure.has_ceiling for figure in chosen):
        await measure_ceiling(Trivial(_made(directory / "ceiling")), found[0], QUICK, prefix, shown)
    for part in comparisons.PARTS:
        if part not in names:
            continue
        folder = _made(directory / part)
        if part == "across":
            comparison = comparisons.across(folder, sizes, plan)
        else:
            comparison = await comparisons.present(folder, names, sizes, plan, shown)
        shown.more(comparison.steps)
        found.append(await run(comparison, prefix, shown))
    return found


def _server(name: str, directory: Path) -> Server:
    if name not in SERVERS:
        raise click.BadParameter(f'"{name}" is none; there are {" and ".join(SERVERS)}', param_hint="--servers")
    return SERVERS[name](_made(directory / name))


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


class Shown:
    """A bar on a terminal; in a log, a line for each thing that is begun."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("", total=0)
        self._steps = 0
        self._console = console
        self._begun = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def more(self, steps: int) -> None:
        """So many steps follow."""
        self._steps += steps
        self._bar.update(self._task, total=self._steps)

    def doing(self, what: str, so_far: str = "") -> None:
        self._bar.update(self._task, description=what + so_far)
        if what != self._begun and not self._console.is_terminal:
            self._console.print(what, highlight=False, soft_wrap=True)
        self._begun = what

    def done(self) -> None:
        self._bar.advance(self._task)


def _show(console: Console, results: Results, parts: list[Results], facts: dict[str, str]) -> None:
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False, soft_wrap=True)
    for server, settings in results.settings.items():
        told = ", ".join(f"{name} {settings[name]}" for name in ("fsync", "synchronous_commit") if name in settings)
        console.print(f"{server} {settings.get('version', '')}: {told}", highlight=False, soft_wrap=True)
    for part in (results, *parts):
        if part.title:
            console.print(f"{part.title}: {part.own} beside {part.peer}", highlight=False, soft_wrap=True)
        for table in report.tables(part):
            console.print(table)
    for figure in results.figures:
        ceiling = results.median(figure, CEILING)
        if ceiling is not None:
            limit = report.amount(figure.unit, figure.unit.of(ceiling))
            console.print(f"the load generator's own ceiling, {figure.key}: {limit}", highlight=False, soft_wrap=True)
    for warning in (warning for part in (results, *parts) for warning in report.warnings(part)):
        console.print(f"[yellow]![/yellow] {warning}", highlight=False, soft_wrap=True)


main(prog_name="python -m bench")
