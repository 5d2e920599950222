"""A database as bytes, and back, with PostgreSQL's own tools.

What is written is what the database holds: envelopes, and content sealed under keys that are not in it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from hutong.engines.binaries import EngineMissing, binaries
from hutong.engines.migrations import restored_sql
from hutong.ids import Minute

CHUNK_BYTES = 1 << 20

_EMPTY = """
DO $$
DECLARE t text;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('DROP TABLE public.%I CASCADE', t);
    END LOOP;
END $$;
"""


class ToolFailed(Exception):
    """pg_dump, pg_restore or psql says that it could not do it."""


def dump(dsn: str, target: IO[bytes]) -> None:
    """Write the database at `dsn`, as it is at one moment, to `target`. May be done while it is in use.

    Raises: ToolFailed, EngineMissing.
    """
    command = [_tool("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", "--schema=public"]
    command += ["--lock-wait-timeout=60s", "--dbname", _without_password(dsn)]
    with TemporaryFile() as said:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=_environment(dsn)
        ) as process:
            assert process.stdout is not None
            try:
                shutil.copyfileobj(process.stdout, target, CHUNK_BYTES)
            except BaseException:
                process.kill()
                raise
        _check("pg_dump", process, said)


def restore(dsn: str, source: IO[bytes], gen: int, minute: Minute) -> None:
    """Put what `dump` wrote in place of what the database at `dsn` holds, under generation `gen`: all or nothing.

    Raises: ToolFailed, EngineMissing.
    """
    psql = [_tool("psql"), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    psql += ["--dbname", _without_password(dsn), "--file=-"]
    read = [_tool("pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error", "--schema=public", "--file=-"]
    pipe = subprocess.PIPE
    with TemporaryFile() as said_by_psql, TemporaryFile() as said_by_pg_restore:
        with (
            subprocess.Popen(
                psql, stdin=pipe, stdout=subprocess.DEVNULL, stderr=said_by_psql, env=_environment(dsn)
            ) as writer,
            subprocess.Popen(read, stdin=pipe, stdout=pipe, stderr=said_by_pg_restore) as reader,
        ):
            _pour(source, reader, writer, restored_sql(gen, minute))
        checks = [("pg_restore", reader, said_by_pg_restore), ("psql", writer, said_by_psql)]
        if reader.returncode in (0, -signal.SIGKILL):  # it was psql that stopped first
            checks.reverse()
        for check in checks:
            _check(*check)


def _pour(source: IO[bytes], reader: "subprocess.Popen[bytes]", writer: "subprocess.Popen[bytes]", last: str) -> None:
    """Send `source` through `reader` into `writer`, which commits at its end, and only when all of it came."""
    assert writer.stdin is not None
    assert reader.stdin is not None
    assert reader.stdout is not None
    feeding = threading.Thread(target=_feed, args=(source, reader.stdin))
    feeding.start()
    try:
        writer.stdin.write(_EMPTY.encode())
        shutil.copyfileobj(reader.stdout, writer.stdin, CHUNK_BYTES)
        if reader.wait() != 0:
            writer.kill()  # it must not commit the half that it got
        else:
            writer.stdin.write(f"{last};\n".encode())
    except BrokenPipeError:  # psql has stopped, and says why
        reader.kill()
    except BaseException:
        writer.kill()
        reader.kill()
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            writer.stdin.close()
        feeding.join()


def _check(name: str, process: "subprocess.Popen[bytes]", said: IO[bytes]) -> None:
    """Raises: ToolFailed, with what the process said, when it did not succeed."""
    if process.returncode != 0:
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
        why = next((line.strip() for line in lines if "error" in line.lower()), "; ".join(lines[:2]))
        raise ToolFailed(f"{name} ended with status {process.returncode}: {why}")


def _feed(source: IO[bytes], sink: IO[bytes]) -> None:
    try:
        with sink:
            shutil.copyfileobj(source, sink, CHUNK_BYTES)
    except BrokenPipeError:  # the reader has stopped, and says why
        pass


def _tool(name: str) -> str:
    """PostgreSQL's tool of this name: the wheel's, else the machine's."""
    try:
        return str(binaries().client / name)
    except EngineMissing:
        found = shutil.which(name)
        if found is None:
            raise EngineMissing(f"{name} is missing: install PostgreSQL's client programs") from None
        return found


def _without_password(dsn: str) -> str:
    """`dsn` as it may be seen in a list of processes."""
    parts = urlsplit(dsn)
    if parts.password is None:
        return dsn
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{place}"))


def _environment(dsn: str) -> Mapping[str, str]:
    password = urlsplit(dsn).password
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return plain | ({"PGPASSWORD": unquote(password)} if password else {})
