"""What this process asks of the operating system and of Python: open files, no core dumps, and short pauses."""

import gc
import os
import resource

OPEN_FILES_WANTED = 1 << 20
OPEN_FILES_ENOUGH = 20_000
"""Below this a node serves few waiting clients; `hutong doctor` says so."""
GC_THRESHOLDS = (10_000, 5, 1_000)
"""A pause of the middle generation walks through the product of the first two: a few milliseconds. What gets old, like
rooms, sessions and words in memory, goes by its count of references, and is hardly ever walked through."""


def raise_open_files() -> int:
    """Raise the number of files that this process may have open as far as it may. Returns that number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_WANTED)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return OPEN_FILES_WANTED if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS: less is allowed than its hard limit says
        return soft
    return wanted


def forbid_core_dumps() -> None:
    """A core dump of this process would hold keys and words in clear. Its children inherit the ban."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def shorten_pauses() -> None:
    """Let the collector of cycles leave alone what lives as long as this process, and stop nobody for long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def processors() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
