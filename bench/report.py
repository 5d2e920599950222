"""What a run found, as Markdown for `bench/RESULTS.md` and as a table for the terminal."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.figures import Figure, Plan
from bench.figures.goals import Standing
from bench.figures.units import PER_SECOND, Unit
from bench.generator import Measured
from bench.results import Results
from bench.servers import CEILING

GENERATOR_BUSY = 0.85
"""Above this share of a core the generator may have been what limited a rate."""
OTHERS_BUSY = 0.10
"""Above this share of the machine, used by others, a figure is noise."""
SPREAD_WIDE = 0.25

RATIOS = ("times", "CPU")
"""The peer's and ours compared: so many times as good, and so many times less processor time for each."""
GOALS = ("required", "aim", "reached")

HEAD = """\
# Results

Written by `make bench`; do not edit. How to read it: [README](README.md).
"""


def number(value: float) -> str:
    """Three digits that matter, no more: 0.42, 8.3, 61.5, 385, 14,000."""
    if value >= 1_000:
        return f"{round(value, -1) if value >= 10_000 else value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def amount(unit: Unit, value: float) -> str:
    """A figure in its unit; a rate without, because the row's title says what is counted."""
    return number(value) if unit.name == PER_SECOND.name else f"{number(value)} {unit.name}"


def ratios(results: Results, figure: Figure) -> list[str]:
    """How many times as good as the peer we are, and our cost; dashes when only one of the two was measured."""
    return [
        "-" if times is None else f"{number(times)}x" for times in (results.times(figure), results.times_cpu(figure))
    ]


def goals(results: Results, figure: Figure) -> list[str]:
    """What the row must reach, what it aims at, and how far it has come."""
    goal = results.goal_of(figure)
    if goal is None:
        return [Standing.UNKNOWN] * len(GOALS)
    return [goal.required, goal.aim or "-", results.standing(figure)]


def summary(part: Results) -> tuple[str, list[str], list[str]]:
    """A whole comparison in one row of the main table: its worst figure, and whether all reach what they must."""
    worst = part.worst()
    standings = {part.standing(figure) for figure in part.figures}
    reached = next((each for each in (Standing.SHORT, Standing.UNKNOWN) if each in standings), Standing.MET)
    if worst is None:
        return part.title, ["-"] * 3, ["-"] * len((*RATIOS, *GOALS))
    goal = part.goal_of(worst)
    required = "-" if goal is None else f"{goal.required} of {part.peer}"
    medians = _median(part, worst, part.own) if len(part.figures) == 1 else [f"worst: {worst.key}", "-", "-"]
    return part.title, medians, [*ratios(part, worst), required, "-", reached]


def warnings(results: Results) -> list[str]:
    """What a reader must know before believing a figure."""
    found = results.faults()
    for figure in results.figures:
        for server in results.servers:
            row = results.rows.get((figure.key, server))
            if row is None:
                continue
            where = f"{server}, {figure.key}"
            busiest = max(measured.generator_share for measured in row.rounds)
            if busiest > GENERATOR_BUSY:
                found.append(f"{where}: the load generator used {busiest:.0%} of a core and may be the limit")
            others = max(measured.usage.others_share for measured in row.rounds)
            if others > OTHERS_BUSY:
                found.append(f"{where}: others used up to {others:.0%} of the machine")
            gap_ms = max(measured.result.longest_gap_ms for measured in row.rounds)
            if any(measured.result.stalled for measured in row.rounds):
                found.append(f"{where}: a stall of {gap_ms:,.0f} ms lies in a window")
            if (spread := row.spread(figure.unit)) > SPREAD_WIDE:
                found.append(f"{where}: the rounds differ by {spread:.0%} of their median")
    return found


def tables(results: Results) -> Iterable[Table]:
    """The medians, a table for each figure, for a terminal of eighty columns."""
    for figure in results.figures:
        title = figure.title
        if results.goal_of(figure) is not None:
            required, aim, reached = goals(results, figure)
            title += f"\nrequired {required}, aim {aim}: {reached}"
        shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
        shown.add_column("server", min_width=9)
        for name, width in (
            (figure.unit.name, 10),
            ("p50 / p99 ms", 15),
            ("CPU µs each", 11),
            *zip(RATIOS, (6, 6), strict=True),
        ):
            shown.add_column(name, justify="right", min_width=width)
        for server in results.servers:
            ratio = ratios(results, figure) if server == results.own else []
            shown.add_row(server, *_median(results, figure, server), *ratio)
        yield shown


def _median(results: Results, figure: Figure, server: str) -> list[str]:
    median = results.median(figure, server)
    if median is None:
        return ["-" if figure.has_peer else "no peer", "-", "-"]
    latency = f"{number(median.result.p50_ms)} / {number(median.result.p99_ms)}"
    return [amount(figure.unit, figure.unit.of(median)), latency, number(median.cpu_us)]


def _cells(results: Results, figure: Figure) -> list[str]:
    medians = [cell for server in results.servers for cell in _median(results, figure, server)]
    return [figure.title, *medians, *ratios(results, figure), *goals(results, figure)]


def markdown(
    results: Results, parts_too: Sequence[Results], facts: dict[str, str], plan: Plan, when: datetime, command: str
) -> str:
    """The whole report. Each of `parts_too` has a row in the main table, and a table of its own."""
    parts = [HEAD, f"`{command}`, {when:%Y-%m-%d %H:%M} UTC. Medians of {plan.rounds} windows of {plan.window_s:g} s, "]
    parts[-1] += "the servers in turn.\n"
    rows = [_cells(results, figure) for figure in results.figures]
    for part in parts_too:
        title, medians, rest = summary(part)
        of_servers = [medians if server == results.own else ["no peer", "-", "-"] for server in results.servers]
        rows.append([title, *chain.from_iterable(of_servers), *rest])
    parts.append(_markdown_table(_head(results), rows))
    everything = [results, *parts_too]
    found = [line for each in everything for line in warnings(each)]
    parts.append("## Before you believe it\n")
    parts.append("".join(f"- {line}\n" for line in found) if found else "Nothing spoiled the windows.\n")
    for part in parts_too:
        parts += [f"## {part.title[0].upper()}{part.title[1:]}\n", f"*times*: so many times {part.peer}.\n"]
        parts.append(_markdown_table(_head(part), [_cells(part, figure) for figure in part.figures]))
    parts += [
        "## Every window\n",
        _markdown_table(list(WINDOW_HEAD), (w for each in everything for w in _windows(each))),
    ]
    ramps = [ramp for each in everything for ramp in _ramps(each)]
    if ramps:
        parts += ["## The ramps to saturation\n", _markdown_table(list(WINDOW_HEAD), ramps)]
    parts += ["## The machine\n", _markdown_table(["", ""], [[name, value] for name, value in facts.items()])]
    parts += ["## The settings\n", *map(_settings, everything)]
    return "\n".join(parts)


def _head(results: Results) -> list[str]:
    head = ["work"]
    for server in results.servers:
        head += [server, "p50 / p99 ms", "CPU µs each"]
    return [*head, *RATIOS, *GOALS]


WINDOW_HEAD = (
    "figure",
    "server",
    "load",
    "found",
    "p50 ms",
    "p99 ms",
    "longest gap ms",
    "missing",
    "duplicates",
    "errors",
    "turned away",
    "CPU µs each",
    "cores used by the server",
    "by the generator",
    "by others",
)


def _windows(results: Results) -> Iterable[list[str]]:
    units = {figure.key: figure.unit for figure in results.figures}
    for (figure, server), row in results.rows.items():
        for measured in row.rounds:
            yield _window(figure, server, units[figure], measured)


def _ramps(results: Results) -> Iterable[list[str]]:
    for (figure, server), row in results.rows.items():
        if server != CEILING:
            for measured in row.ramp:
                yield _window(figure, server, PER_SECOND, measured)


def _window(figure: str, server: str, unit: Unit, measured: Measured) -> list[str]:
    result, usage = measured.result, measured.usage
    return [
        figure,
        server,
        str(result.concurrency),
        amount(unit, unit.of(measured)),
        number(result.p50_ms),
        number(result.p99_ms),
        number(result.longest_gap_ms),
        str(result.missing),
        str(result.duplicates),
        str(result.errors),
        str(result.turned_away),
        number(measured.cpu_us),
        f"{usage.server_cpu_s / usage.seconds:.2f}",
        f"{measured.generator_share:.2f}",
        f"{usage.others_cpu_s / usage.seconds:.2f}",
    ]


def _settings(results: Results) -> str:
    names = list(dict.fromkeys(name for settings in results.settings.values() for name in settings))
    rows = [[name, *(results.settings[server].get(name, "-") for server in results.servers)] for name in names]
    return _markdown_table(["", *results.servers], rows)


def _markdown_table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
