"""The embedded PostgreSQL: one cluster per region, in the data folder, reached through a Unix socket only.

The server runs in a session of its own, so a Ctrl-C in the terminal reaches hutong alone, which then stops it. When
hutong is killed the server lives on; the next start stops it first. When everything is killed the next start recovers.
"""

import asyncio
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from urllib.parse import quote

import asyncpg

from hutong.engines.binaries import VERSION, Binaries, binaries
from hutong.engines.postgres_conf import LOCAL, PORT, configuration
from hutong.outage import Outage

log = getLogger(__name__)

ADMIN = "postgres"
"""The cluster's superuser: makes roles and databases, reads what the audit asks."""
OWNER = "hutong"
"""The role that owns the cells' databases and that hutong works under: no superuser."""

SOCKET_PATH_BYTES_MAX = 107
RECOVERY_SECONDS_MAX = 600.0
STOP_SECONDS_MAX = 30.0
KILL_SECONDS_MAX = 5.0
RESTART_PAUSE_SECONDS = 1.0
WATCH_SECONDS = 1.0
LOG_BYTES_MAX = 16 << 20
_POLL_SECONDS = 0.01
_NO_CLIENT = {"PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGDATA", "PGOPTIONS", "PGSERVICE"}


class EngineFailed(Exception):
    """The embedded PostgreSQL does not start or stop; the message says where and what its log says."""


class EmbeddedPostgres:
    """One cluster, in `directory`; its log goes into `logs` (default: the folder `logs` beside `directory`)."""

    def __init__(self, directory: Path, logs: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.logs = logs or self.directory.parent / "logs"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._socket_dir: str | None = None

    @property
    def exists(self) -> bool:
        """Whether the cluster has been made."""
        return (self.directory / "PG_VERSION").exists()

    @property
    def log_file(self) -> Path:
        return self.logs / "postgres.log"

    async def start(self, *databases: str) -> None:
        """Make the cluster if it is not there, start it, and make those of `databases` that are missing.

        An orphan of an earlier run is stopped first. From then on the server is started again should it end.

        Raises: EngineMissing, EngineFailed.
        Cost: first about a second, then a tenth; after a crash the time to recover, at most ten minutes.
        """
        self._stopping.clear()
        try:
            await asyncio.to_thread(self._start)
            await self.ensure_databases(*databases)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server: open transactions are rolled back, everything is written. No server: nothing happens."""
        self._stopping.set()
        await asyncio.to_thread(self._stop)

    def running(self) -> bool:
        """Whether a server, ours or an orphan, has this cluster open and takes connections."""
        said = self._pid_file()
        return len(said) > 7 and said[7].strip() == "ready" and int(said[0]) in _processes_in(self.directory)

    def dsn(self, database: str) -> str:
        """Where `database` is, for `asyncpg` and for PostgreSQL's own tools run by this process."""
        return self._dsn(OWNER, database)

    def admin_dsn(self, database: str = "postgres") -> str:
        """The same as the cluster's superuser."""
        return self._dsn(ADMIN, database)

    async def ensure_databases(self, *names: str) -> None:
        """Make the role that owns them, and those of `names` that are missing."""
        connection = await asyncpg.connect(self.admin_dsn())
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", OWNER):
                await connection.execute(f"CREATE ROLE {OWNER} LOGIN")
            for name in names:
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                    await connection.execute(
                        f'CREATE DATABASE "{name}" OWNER {OWNER} TEMPLATE template0 ENCODING UTF8 LOCALE "C"'
                    )
        finally:
            await connection.close()

    # Starting

    def _start(self) -> None:
        with self._lock:
            found = binaries()
            self._take_over(found)
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            _stop_processes(self.directory, self._pid_file())
            if not self.exists:
                self._make(found)
            self._check_version()
            self._launch(found)
            self._watcher = threading.Thread(target=self._watch, args=(found,), name="postgres", daemon=True)
            self._watcher.start()

    def _make(self, found: Binaries) -> None:
        """A new cluster, made beside its place and moved there whole, so that half of one is never taken for one."""
        fresh = self.directory.with_name(self.directory.name + ".part")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        if found.other_user:
            os.chown(fresh, found.uid, found.gid)
        command = [str(found.server / "initdb"), "--username", ADMIN, "--auth-local=trust", "--auth-host=reject"]
        command += ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
        command += ["--sync-method=syncfs"] if sys.platform == "linux" else []
        with _reachable(fresh, found) as (path, inherited):
            result = subprocess.run(
                [*command, "--pgdata", path],
                check=False,
                pass_fds=inherited,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(),
                **found.server_process(),
            )
        if result.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            said = result.stdout.decode(errors="replace").strip().splitlines()
            why = next((line for line in said if "error" in line), said[-1] if said else "initdb says nothing")
            raise EngineFailed(f"no database could be made in {self.directory}: {why}")
        fresh.rename(self.directory)
        _sync_folder(self.directory.parent)

    def _take_over(self, found: Binaries) -> None:
        """Refuse another user's cluster; under root, give it to the user that the server runs under."""
        if not self.directory.exists():
            return
        owner = self.directory.stat().st_uid
        if owner == found.uid:
            return
        if not found.other_user:
            raise EngineFailed(f"{self.directory} belongs to user {owner}: run hutong as that user, or as root")
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, found.uid, found.gid, follow_symlinks=False)

    def _check_version(self) -> None:
        version = (self.directory / "PG_VERSION").read_text().strip()
        if version != str(VERSION):
            raise EngineFailed(
                f"{self.directory} was written by PostgreSQL {version}, this hutong has {VERSION}:"
                f" back the region up with the older one, restore it with this one"
            )

    def _launch(self, found: Binaries) -> None:
        """Start the server and wait until it takes connections."""
        # A process that by chance has the number in a stale file would keep the server from starting. That nobody
        # works in this folder is known by now.
        for name in ("postmaster.pid", f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (self.directory / name).unlink(missing_ok=True)
        local = (self.directory / LOCAL).exists()
        _replace(self.directory / "postgresql.conf", configuration(local=local), 0o644)
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES_MAX:
            self.log_file.replace(self.logs / "postgres.1.log")
        log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        with _reachable(self.directory, found) as (path, inherited), self.log_file.open("ab") as output:
            process = subprocess.Popen(
                # The second setting does nothing: it shows in a list of processes whose server this is.
                [str(found.server / "postgres"), "-D", path, "-c", f"hutong.directory={self.directory}"],
                pass_fds=inherited,
                stdout=output,
                stderr=output,
                env=_environment(),
                start_new_session=True,
                **found.server_process(),
            )
        self._process = process
        deadline = time.monotonic() + RECOVERY_SECONDS_MAX
        while True:
            said = self._pid_file()
            if len(said) > 7 and said[0] == str(process.pid) and said[7].strip() == "ready":
                return
            if process.poll() is not None:
                why = f"it ended with status {process.returncode}"
            elif time.monotonic() > deadline:
                why = f"it still recovers after {RECOVERY_SECONDS_MAX:.0f} s"
            elif self._stopping.is_set():
                why = "hutong is being stopped"
            else:
                time.sleep(_POLL_SECONDS)
                continue
            raise EngineFailed(f"PostgreSQL in {self.directory} did not start: {why}{self._last_words(log_start)}")

    def _last_words(self, start: int) -> str:
        """What the server's log says since `start`."""
        with self.log_file.open("rb") as file:
            file.seek(start)
            lines = file.read(64 << 10).decode(errors="replace").splitlines()
        weighty = [line for line in lines if "FATAL" in line or "PANIC" in line] or lines[-1:]
        return f": {weighty[0].strip()} (all of it: {self.log_file})" if weighty else ""

    def _watch(self, found: Binaries) -> None:
        """Start the server again when it ends though nobody asked for it: killed, or out of memory."""
        outage = Outage(log, f"PostgreSQL in {self.directory}")
        while True:
            process = self._process
            assert process is not None
            status = self._ended(process)
            if self._stopping.is_set():
                return
            outage.goes_on(f"it ended by itself with status {status}, and is started again")
            while not self._stopping.wait(RESTART_PAUSE_SECONDS):
                try:
                    _stop_processes(self.directory, [])
                    self._launch(found)
                    break
                except (EngineFailed, OSError) as error:
                    outage.goes_on(f"it cannot be started again yet: {_without_time(str(error))}")
            else:
                return
            outage.is_over()

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until the server has ended; its exit status.

        Told to stop by somebody else, it waits for its clients to go. Those are hutong's, and stay, but nobody new is
        let in: such a server is stopped, to be started again.
        """
        while True:
            try:
                return process.wait(WATCH_SECONDS)
            except subprocess.TimeoutExpired:
                said = self._pid_file()
                if len(said) > 7 and said[7].strip() == "stopping" and not self._stopping.is_set():
                    process.send_signal(signal.SIGINT)

    # Stopping

    def _stop(self) -> None:
        with self._lock:
            while (process := self._process) is not None:
                _end(process)
                if self._watcher is not None:
                    self._watcher.join()
                if self._process is process:  # else it had just been started again
                    self._process = None
            self._watcher = None
            if self._socket_dir is not None and self._socket_dir.startswith("/proc/"):
                os.close(int(self._socket_dir.rpartition("/")[2]))
            self._socket_dir = None

    # Finding it

    def _pid_file(self) -> list[str]:
        """The lines of the server's lock file: process, folder, start, port, socket folder, -, -, state."""
        try:
            return (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _dsn(self, user: str, database: str) -> str:
        return f"postgresql://{user}@/{quote(database)}?host={quote(self._socket(), safe='')}&port={PORT}"

    def _socket(self) -> str:
        """The folder of the socket. It is the cluster's own, which only its user may enter."""
        if self._socket_dir is None:
            path = str(self.directory)
            if len(os.fsencode(path)) + len(f"/.s.PGSQL.{PORT}") > SOCKET_PATH_BYTES_MAX:
                # The path of a socket is short. An open folder has a short name, in our children too.
                path = f"/proc/{os.getpid()}/fd/{os.open(path, os.O_RDONLY | os.O_DIRECTORY)}"
            self._socket_dir = path
        return self._socket_dir


def _without_time(text: str) -> str:
    """The server's words without when it said them, so that the same ones are known again."""
    return re.sub(r"\d{4}-\d\d-\d\d [\d:.]+ UTC \[\d+\] ", "", text)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in (
        (signal.SIGINT, STOP_SECONDS_MAX),  # "fast": disconnect everybody, write everything
        (signal.SIGQUIT, KILL_SECONDS_MAX),  # "immediate": the next start recovers
        (signal.SIGKILL, KILL_SECONDS_MAX),
    ):
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            log.warning("PostgreSQL does not stop within %.0f s", seconds)
        else:
            return


@contextmanager
def _reachable(directory: Path, found: Binaries) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A name of `directory` that the server's user can follow, and the files a child must inherit for it.

    Under root, a folder above may be closed to that user (root's own home is). Its permissions stay as they are: the
    server gets the folder itself, opened, and then names everything by ways that start there.
    """
    if not found.other_user:
        yield str(directory), ()
        return
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}", (opened,)
    finally:
        os.close(opened)


def _environment() -> dict[str, str]:
    """This process's environment without what would change the server, and without hutong's secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _NO_CLIENT and not name.startswith(("LC_", "LANG", "HUTONG_"))
    } | {"LC_ALL": "C", "TZ": "UTC"}


def _processes_in(directory: Path) -> set[int]:
    """The processes whose working directory is `directory`: a PostgreSQL server and its children are there."""
    if sys.platform != "linux":
        return _server_in(directory)
    try:
        wanted = directory.stat()
    except FileNotFoundError:
        return set()
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                here = os.stat(f"/proc/{name}/cwd")
            except OSError:  # ended meanwhile, or not ours
                continue
            if (here.st_dev, here.st_ino) == (wanted.st_dev, wanted.st_ino) and _is_postgres(name):
                found.add(int(name))
    return found


def _server_in(directory: Path) -> set[int]:
    """The server that the lock file in `directory` names, if it lives: all that can be told without /proc."""
    try:
        pid = (directory / "postmaster.pid").read_text().split("\n")[0]
    except FileNotFoundError:
        return set()
    said = subprocess.run(["ps", "-p", pid, "-o", "comm="], capture_output=True, text=True, check=False).stdout
    return {int(pid)} if said.strip().endswith("postgres") else set()


def _is_postgres(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"  # not a shell that was moved there
    except OSError:
        return False


def _stop_processes(directory: Path, pid_file: list[str]) -> None:
    """Stop what an earlier run left behind in `directory`.

    Raises: EngineFailed when it does not go away.
    """
    processes = _processes_in(directory)
    if not processes:
        return
    log.warning("stopping a PostgreSQL that an earlier run left behind")
    server = int(pid_file[0]) if pid_file and pid_file[0].isdigit() else None
    first = {server} & processes if server is not None else set()
    # Without its server the rest ends by itself, as soon as it notices.
    for targets, number, seconds in (
        (first, signal.SIGINT, STOP_SECONDS_MAX if first else KILL_SECONDS_MAX),
        (first, signal.SIGQUIT, KILL_SECONDS_MAX),
        (None, signal.SIGKILL, KILL_SECONDS_MAX),
    ):
        for pid in processes if targets is None else targets:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                raise EngineFailed(f"process {pid} has {directory} open and belongs to another user") from None
        deadline = time.monotonic() + seconds
        while processes := _processes_in(directory):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise EngineFailed(f"processes {sorted(processes)} have {directory} open and do not end")


def _replace(path: Path, text: str, mode: int) -> None:
    """Write `path` anew, following nothing that lies there: the folder belongs to the server's user."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(file, "w") as output:
        output.write(text)
        os.fchmod(output.fileno(), mode)
    fresh.replace(path)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
