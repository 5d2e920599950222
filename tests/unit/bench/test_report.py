"""What a run's report says, and what it warns of."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO

import psutil
import pytest
from msgspec.structs import replace
from rich.console import Console

from bench import report
from bench.figures import DEFAULT
from bench.figures.goals import Standing, Times, Within
from bench.figures.reading import InitialSync, ManyRooms, Pages
from bench.figures.sending import Sends
from bench.figures.units import MILLISECONDS, PER_SECOND
from bench.figures.waiting import Waiting
from bench.generator import Measured
from bench.load.window import Result
from bench.machine import Meter, Usage, trees_cpu_s
from bench.results import Results, Row

QUIET = Usage(seconds=2.0, server_cpu_s=1.0, others_cpu_s=0.0)
GOOD = Result(
    operations=200,
    seconds=2.0,
    concurrency=64,
    p50_ms=5.0,
    p99_ms=9.0,
    longest_gap_ms=20.0,
    generator_cpu_s=0.1,
)


def grown(memory_bytes: int) -> Usage:
    """A quiet window in which the server's memory grew by so much."""
    return Usage(2.0, 1.0, 0.0, memory_bytes)


def row(*operations: int, usage: Usage = QUIET) -> Row:
    return Row([Measured(replace(GOOD, operations=each), usage) for each in operations])


def results(**rows: Row) -> Results:
    sends = Sends(at_once=64, rooms=20)
    return Results(
        [sends],
        [name for name in rows if name != "ceiling"],
        {(sends.key, name): each for name, each in rows.items()},
        {name: {"fsync": "on"} for name in rows},
    )


def test_medians_are_compared_and_their_cost_stands_beside_them() -> None:
    found = results(hutong=row(9_000, 10_000, 11_000), synapse=row(300, 100, 200), ceiling=row(99_999))
    text = report.markdown(
        found, [], {"processor": "two cores"}, DEFAULT, datetime(2026, 1, 2, tzinfo=UTC), "python -m bench"
    )
    line = (
        "| durable sends/s, 64 at once, 20 rooms | 5,000 | 5.0 / 9.0 | 100 | 100 | 5.0 / 9.0 | 5,000 | 50.0x | 50.0x "
        "| 50x | 100x | met |"
    )
    assert line in text
    assert "| fsync | on | on |" in text
    assert "| processor | two cores |" in text


def test_one_server_alone_has_no_ratio() -> None:
    found = results(synapse=row(100))
    assert report.ratios(found, found.figures[0]) == ["-", "-"]


@pytest.mark.parametrize(
    ("own", "goal", "standing"),
    [
        (4_999, Times(50, 100), Standing.SHORT),
        (5_000, Times(50, 100), Standing.MET),
        (10_000, Times(50, 100), Standing.AIM),
        (10_000, Times(50, 100, p99_ms_aimed_at=9.5), Standing.AIM),
        (10_000, Times(50, 100, p99_ms_aimed_at=9.0), Standing.MET),
        (10_000, Times(50), Standing.MET),
    ],
)
def test_a_row_knows_what_it_has_reached(own: int, goal: Times, standing: Standing) -> None:
    found = results(hutong=row(own), synapse=row(100))
    assert goal.standing(found.figures[0], found) is standing
    alone = results(hutong=row(own))
    assert goal.standing(alone.figures[0], alone) is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("memory_bytes", "standing"), [(8_200, Standing.SHORT), (8_192, Standing.MET), (6_144, Standing.AIM)]
)
def test_memory_is_held_against_what_a_client_may_take(memory_bytes: int, standing: Standing) -> None:
    figure = Waiting(200, has_peer=False)
    window = Measured(GOOD, grown(memory_bytes * GOOD.operations))
    found = Results([figure], ["hutong", "synapse"], {(figure.key, "hutong"): Row([window])})
    assert found.standing(figure) is standing
    text = report.markdown(found, [], {}, DEFAULT, datetime(2026, 1, 2, tzinfo=UTC), "python -m bench")
    size = report.number(memory_bytes / 1024)
    assert f"| {size} KiB each | 5.0 / 9.0 | 5,000 | no peer | - | - | - | - | at most 8 | 6 | {standing} |" in text


def test_another_comparison_has_one_row_in_the_main_table_and_a_table_of_its_own() -> None:
    sends, pages = Sends(at_once=64, rooms=20), Pages(rooms=4, pages=20, at_once=8)
    part = Results(
        [sends, pages],
        ["new", "old"],
        {
            (sends.key, "new"): row(1_000),
            (sends.key, "old"): row(1_100),
            (pages.key, "new"): row(1_000),
            (pages.key, "old"): row(790),
        },
        own="old",
        peer="new",
        title="all of these again",
        goal=Within(0.2),
    )
    main = results(hutong=row(10_000), synapse=row(100))
    text = report.markdown(main, [part], {}, DEFAULT, datetime(2026, 1, 2, tzinfo=UTC), "python -m bench")
    worst = "| worst: pages | - | - | no peer | - | - | 0.79x | 0.79x | within 20% of new | - | short |"
    assert f"| all of these again {worst}" in text
    assert "## All of these again" in text
    assert "| durable sends/s, 64 at once, 20 rooms | 500 |" in text
    assert [part.standing(figure) for figure in part.figures] == [Standing.MET, Standing.SHORT]


def test_within_a_share_is_so_much_less_of_a_rate_and_so_much_more_of_a_time() -> None:
    sync = InitialSync(ManyRooms(100, 20))
    for ms, standing in ((5.99, Standing.MET), (6.01, Standing.SHORT)):
        new, old = (Row([Measured(replace(GOOD, p50_ms=each), QUIET)]) for each in (5.0, ms))
        rows = {(sync.key, "new"): new, (sync.key, "old"): old}
        found = Results([sync], ["new", "old"], rows, own="old", peer="new", goal=Within(0.2))
        assert found.standing(sync) is standing
    alone = Results([sync], ["old"], rows, own="old", peer="none", goal=Within(0.2))
    assert alone.standing(sync) is Standing.UNKNOWN


def test_of_two_times_the_shorter_is_the_better() -> None:
    assert MILLISECONDS.times(own=50.0, peer=1_000.0) == 20.0
    assert PER_SECOND.times(own=50.0, peer=1_000.0) == 0.05
    slow, quick = (Measured(replace(GOOD, p50_ms=ms), QUIET) for ms in (8.0, 2.0))
    assert Row([quick, slow]).median(MILLISECONDS) is slow, "the worse of two middle ones"
    assert report.amount(MILLISECONDS, 8.0) == "8.0 ms"


@pytest.mark.parametrize(
    ("spoiled", "warning"),
    [
        (Measured(replace(GOOD, generator_cpu_s=1.9), QUIET), "may be the limit"),
        (Measured(GOOD, Usage(2.0, 1.0, os.cpu_count() or 1)), "others used"),
        (Measured(replace(GOOD, longest_gap_ms=1_500.0), QUIET), "a stall of 1,500 ms"),
        (Measured(replace(GOOD, operations=900), QUIET), "the rounds differ"),
        (Measured(replace(GOOD, missing=1), QUIET), "1 missing"),
    ],
)
def test_what_spoils_a_window_is_said(spoiled: Measured, warning: str) -> None:
    good = Measured(GOOD, QUIET)
    assert report.warnings(results(hutong=Row([good, good, good]))) == []
    [said] = report.warnings(results(hutong=Row([good, spoiled, good])))
    assert warning in said


@pytest.mark.parametrize(
    ("value", "text"), [(0.4211, "0.42"), (8.3, "8.3"), (61.54, "61.5"), (385.2, "385"), (14_003, "14,000")]
)
def test_numbers_show_what_matters(value: float, text: str) -> None:
    assert report.number(value) == text


BURN = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"


def test_a_process_that_is_two_roots_or_has_ended_counts_once() -> None:
    parent = psutil.Process()
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as burning:
        assert burning.stdout is not None
        before = trees_cpu_s([parent])
        burning.stdout.readline()
        child = psutil.Process(burning.pid)
        used = trees_cpu_s([parent, child])
        assert used == pytest.approx(trees_cpu_s([parent]), abs=0.1)
        assert used - before > 0.1
        burning.communicate(b"\n")
    assert trees_cpu_s([parent]) - before > 0.1


def test_what_the_benchmark_itself_uses_is_no_load_of_others() -> None:
    meter = Meter(roots=[], own=[os.getpid()])
    meter.open()
    usage = meter.close()
    assert usage.server_cpu_s == 0
    assert usage.others_cpu_s >= 0


def test_memory_is_that_of_the_first_process_alone() -> None:
    meter = Meter(roots=[os.getpid()], own=[])
    meter.open()
    block = bytearray(os.urandom(1 << 20)) * 32
    assert meter.close().memory_bytes >= len(block) * 0.9


def test_a_terminal_of_eighty_columns_shows_every_figure() -> None:
    found = results(hutong=row(10_000), synapse=row(100), ceiling=row(99_999))
    console = Console(width=80, record=True, file=StringIO())
    for table in report.tables(found):
        console.print(table)
    text = console.export_text()
    assert "5,000" in text
    assert "100x" in text
    assert "durable sends/s, 64 at once, 20 rooms" in text
    assert "…" not in text
