"""The machine that the figures come from: what it is, and who used its processors while a window was open."""

import os
import platform
import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psutil

FLUSHES = 50
FLUSH_BYTES = 8_192


@dataclass(frozen=True)
class Usage:
    """Processor seconds used between two readings, and the wall time between them."""

    seconds: float
    server_cpu_s: float
    others_cpu_s: float
    memory_bytes: int = 0
    """What the first of the server's processes has more of to itself than before."""

    @property
    def others_share(self) -> float:
        """How much of the whole machine neither the server nor the benchmark used, 0 to 1."""
        return self.others_cpu_s / (self.seconds * (os.cpu_count() or 1))


class Meter:
    """Reads processor times of a server's trees and of the machine."""

    def __init__(self, roots: Iterable[int], own: Iterable[int]) -> None:
        """`roots`: the tops of the server's trees. `own`: the benchmark's processes, which are no load of others."""
        self._roots = [psutil.Process(pid) for pid in roots]
        self._own = [psutil.Process(pid) for pid in own]
        self._at = self._server_s = self._own_s = self._machine_s = 0.0
        self._memory_bytes = 0

    def open(self) -> None:
        self._memory_bytes = self._read_memory()
        self._at, self._server_s, self._own_s, self._machine_s = self._read()

    def close(self) -> Usage:
        """What was used since `open`."""
        at, server_s, own_s, machine_s = self._read()
        server_cpu_s = server_s - self._server_s
        others_s = machine_s - self._machine_s - server_cpu_s - (own_s - self._own_s)
        memory_bytes = self._read_memory() - self._memory_bytes
        return Usage(at - self._at, server_cpu_s, max(0.0, others_s), memory_bytes)

    def _read_memory(self) -> int:
        return sum(map(own_memory_bytes, self._roots[:1]))

    def _read(self) -> tuple[float, float, float, float]:
        server_s = trees_cpu_s(self._roots)
        return perf_counter(), server_s, sum(map(_own_cpu_s, self._own)), _busy_s()


def own_memory_bytes(process: psutil.Process) -> int:
    """What would be free if `process` alone ended: the pages that it shares with nobody."""
    return int(process.memory_full_info().uss)


def trees_cpu_s(roots: Iterable[psutil.Process]) -> float:
    """Processor seconds of `roots`, their living descendants, and those that ended and were waited for.

    A root may be in the tree of another; each process counts once.
    """
    total = 0.0
    for process in {process for root in roots for process in (root, *root.children(recursive=True))}:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # it ended just now: its parent has its time already, or will at the next reading
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _own_cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice + times.irq + times.softirq + times.steal)


def facts(directory: Path) -> dict[str, str]:
    """What the machine is, and how long one flush to the disk under `directory` takes."""
    memory_gib = psutil.virtual_memory().total / (1 << 30)
    one, five, fifteen = os.getloadavg()
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "flush of 8 KiB": f"{flush_ms(directory):.2f} ms (median of {FLUSHES}, fdatasync)",
        "load before the run": f"{one:.2f} {five:.2f} {fifteen:.2f} (1, 5, 15 minutes)",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def flush_ms(directory: Path) -> float:
    """The median time to make 8 KiB durable in a file under `directory`."""
    block = b"\0" * FLUSH_BYTES
    taken_s = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(FLUSHES):
            began = perf_counter()
            file.write(block)
            os.fdatasync(file.fileno())
            taken_s.append(perf_counter() - began)
    return statistics.median(taken_s) * 1_000
