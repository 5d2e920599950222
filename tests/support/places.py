"""Where a node of the tests lives: ports nobody else has, and a data folder its PostgreSQL may enter."""

import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PORTS = 4
"""The demo listens on N for all regions, and on N+1 to N+3 for each."""
PORTS_TO_CHOOSE_FROM = (12_000, 32_000)


def free_ports(count: int = PORTS) -> int:
    """The first of `count` neighbouring ports that are free at this moment.

    They lie below those that the system gives to outgoing connections, or one of these may take a port meanwhile.
    """
    while True:
        port = random.SystemRandom().randrange(*PORTS_TO_CHOOSE_FROM)
        with ExitStack() as open_sockets:
            try:
                for offset in range(count):
                    open_sockets.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            return port


@contextmanager
def data_folder(name: str) -> Iterator[Path]:
    """A folder under the system's temporary one, gone afterwards.

    Not pytest's `tmp_path`: that is closed to other users, and PostgreSQL never runs as root.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"hutong-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
