"""The few system calls that replace a file so that a crash leaves the old one or the new one, never half of one."""

import os
from pathlib import Path

_UNFINISHED = ".new"


class Disk:
    """Each method is one step that can fail, and a place where a test can pull the plug."""

    def make_directory(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, path: Path, data: bytes) -> None:
        """A file with `data`, readable by its owner only, on the disk when this returns."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_atomically(self, path: Path, data: bytes) -> None:
        """`data` in place of what is at `path`. Cost: two fsyncs."""
        unfinished = path.with_name(path.name + _UNFINISHED)
        self.write(unfinished, data)
        self.replace(unfinished, path)
        self.sync_directory(path.parent)

    def remove_unfinished(self, directory: Path) -> None:
        """What a crash left between two steps of `write_atomically`."""
        for path in directory.glob(f"*{_UNFINISHED}"):
            path.unlink()
