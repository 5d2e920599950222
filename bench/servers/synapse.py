"""Synapse from PyPI, in an environment of its own, on a PostgreSQL of its own."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.load.matrix import Target
from bench.servers import postgres
from bench.servers.process import NotStarted, ServerProcess, free_ports
from hutong.engines.postgres import EmbeddedPostgres

HOME = Path(__file__).parent.parent / ".synapse"
"""Its environment; made once, ignored by git."""
REQUIREMENTS = Path(__file__).parent.parent / "synapse-requirements.txt"
SERVER_NAME = "synapse.localhost"
DATABASE = "synapse"
CHEAP_ROUNDS = 4
"""Of bcrypt: registration is set-up here, not a figure."""
DEFAULT_ROUNDS = 12
NO_LIMIT = {"per_second": 1_000_000, "burst_count": 1_000_000}


class Synapse:
    """One process, as its installation guide sets it up; off is what the comparison does not ask for."""

    name = "synapse"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._postgres = EmbeddedPostgres(directory / "postgres")
        self._process: ServerProcess | None = None
        self._target: Target | None = None
        self._rounds = CHEAP_ROUNDS

    async def start(self) -> Target:
        await install()
        (self._directory / "log.json").write_text(json.dumps(LOGGING))
        self._target = Target("127.0.0.1", free_ports(1))
        await self._start()
        return self._target

    async def _start(self) -> None:
        assert self._target is not None, "its address is known"
        await self._postgres.start(DATABASE)  # from template0, in the C locale, as Synapse wants it
        config = self._directory / "homeserver.json"  # JSON is YAML
        dsn = self._postgres.dsn(DATABASE)
        config.write_text(json.dumps(configuration(self._directory, self._target.port, dsn, self._rounds), indent=1))
        command = [str(HOME / "bin" / "python"), "-m", "synapse.app.homeserver", "--config-path", str(config)]
        await _run([*command, "--generate-keys"])
        self._process = ServerProcess(command, self._directory, self._directory / "synapse.log")
        await self._process.start(self._target)

    async def restart(self) -> None:
        await self.stop()
        await self._start()

    @asynccontextmanager
    async def default_hashing(self) -> AsyncIterator[None]:
        """Raises: NotStarted, since it is a setting that Synapse reads when it starts."""
        self._rounds = DEFAULT_ROUNDS
        await self.restart()
        yield
        self._rounds = CHEAP_ROUNDS
        await self.restart()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()
        await self._postgres.stop()

    def roots(self) -> list[int]:
        assert self._process is not None, "it was started"
        return [self._process.pid, *postgres.postmasters(self._directory / "postgres")]

    async def settings(self) -> dict[str, str]:
        version = await _run([str(HOME / "bin" / "python"), "-c", PRINT_VERSION])
        return {
            "version": version.strip(),
            "process": "one, no workers; cache factor 2; presence, statistics, user directory and federation off",
            "passwords": f"bcrypt, {DEFAULT_ROUNDS} rounds for those who log in, {CHEAP_ROUNDS} for all others",
            **await postgres.settings(self._postgres.dsn(DATABASE)),
        }


PRINT_VERSION = "from importlib.metadata import version; print(version('matrix-synapse'))"
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}


def configuration(directory: Path, port: int, dsn: str, rounds: int) -> dict[str, object]:
    """Its homeserver.yaml. Rate limits are off; what costs and is not measured is off, in its favour."""
    return {
        "server_name": SERVER_NAME,
        "pid_file": str(directory / "homeserver.pid"),
        "log_config": str(directory / "log.json"),
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "listeners": [
            {
                "port": port,
                "type": "http",
                "bind_addresses": ["127.0.0.1"],
                "tls": False,
                "resources": [{"names": ["client"], "compress": False}],
            }
        ],
        # Five to ten connections is what its documentation recommends.
        "database": {"name": "psycopg2", "args": {"dsn": dsn, "cp_min": 5, "cp_max": 10}},
        "caches": {"global_factor": 2.0},
        "registration_shared_secret": "only on this machine, only while the benchmark runs",
        "macaroon_secret_key": "only on this machine, only while the benchmark runs",
        "form_secret": "only on this machine, only while the benchmark runs",
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": rounds,
        "report_stats": False,
        "presence": {"enabled": False},
        "stats": {"enabled": False},
        "user_directory": {"enabled": False},
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "federation_domain_whitelist": [],
        "soft_file_limit": 0,  # as many as the machine allows
        "rc_message": NO_LIMIT,
        "rc_registration": NO_LIMIT,
        "rc_login": {"address": NO_LIMIT, "account": NO_LIMIT, "failed_attempts": NO_LIMIT},
        "rc_joins": {"local": NO_LIMIT, "remote": NO_LIMIT},
        "rc_joins_per_room": NO_LIMIT,
        "rc_invites": {"per_room": NO_LIMIT, "per_user": NO_LIMIT, "per_issuer": NO_LIMIT},
        "rc_room_creation": NO_LIMIT,
        "rc_presence": {"per_user": NO_LIMIT},
        "rc_profile": NO_LIMIT,
    }


async def install() -> None:
    """Make its environment, unless the one that is there was made from the same pins. Raises: NotStarted."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    stamp = HOME / "installed-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    await _run([sys.executable, "-m", "venv", "--clear", str(HOME)])
    pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    await _run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)])
    stamp.write_text(wanted)


async def _run(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    out, error = await process.communicate()
    if process.returncode:
        raise NotStarted(
            f"{' '.join(command)} ended with {process.returncode}:\n{error.decode(errors='replace')[-2_000:]}"
        )
    return out.decode()
