"""What this process asks of the operating system: open files, and no core dumps."""

import resource

OPEN_FILES_WANTED = 1 << 20
OPEN_FILES_ENOUGH = 20_000
"""Below this a node serves few waiting clients; `hutong doctor` says so."""


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
