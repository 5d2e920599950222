"""What `hutong serve` says of addresses that it cannot have, and what it takes for a request to stop."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hutong.cli import main
from hutong.commands import serve as serve_module
from tests.support.places import free_ports

TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
METRICS = "[metrics]\nport = {busy}\n"
REGION = '[regions.ru]\nnumber = 3\nserver_name = "ru.example"\nport = {busy}\n'


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """The first of four ports, of which the second is taken; and that one."""
    first = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        yield first, first + 1


def refused(folder: Path, *arguments: str) -> str:
    """What a start that is refused says; neither database nor key has been made."""
    done = CliRunner().invoke(main, ["serve", "--data", str(folder / "data"), *arguments], env={"HUTONG_CONFIG": ""})
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    made = {path.name for path in (folder / "data").rglob("*") if path.is_file() or path.name == "postgres"}
    assert made <= {"node.lock", "hutong.log"}
    return done.output


def test_a_port_that_is_taken_is_named_before_a_database_is_made(ports: tuple[int, int], tmp_path: Path) -> None:
    _, busy = ports
    assert refused(tmp_path, "--port", str(busy)) == (
        f"hutong: cannot listen on 127.0.0.1, port {busy} (port): it is in use;"
        " give --port another, or stop what uses it. Nothing was started.\n"
    )


def test_a_demo_regions_port_that_is_taken_is_named(ports: tuple[int, int], tmp_path: Path) -> None:
    first, busy = ports
    said = refused(tmp_path, "--port", str(first))
    assert f"port {busy} (regions.cn.port): it is in use; give --port another: the demo's regions are on the" in said


@pytest.mark.parametrize(
    ("text", "name", "cure"),
    [(METRICS, "metrics.port", "set it to another"), (REGION, "regions.ru.port", "set regions.ru.port to another")],
)
def test_a_port_of_the_file_is_named_as_there(
    ports: tuple[int, int], tmp_path: Path, text: str, name: str, cure: str
) -> None:
    settings = tmp_path / "hutong.toml"
    settings.write_text("port = 0\n" + text.format(busy=ports[1]))
    said = refused(tmp_path, "--config", str(settings))
    assert f"port {ports[1]} ({name}): it is in use; {cure}, or stop what uses it. Nothing was started." in said


@pytest.mark.parametrize(
    ("host", "why"),
    [("192.0.2.1", "is no address of this machine"), ("nonsense.invalid", "no address is found for")],
)
def test_a_host_that_is_not_here_is_named(tmp_path: Path, host: str, why: str) -> None:
    said = refused(tmp_path, "--port", "0", "--host", host)
    assert f'hutong: host is "{host}", which' in said
    assert why in said
    assert "--port" not in said


@pytest.mark.parametrize(
    ("numbers", "wait_s", "at_once"),
    [
        ((TERM, TERM), 0.0, False),  # as `timeout make run` passes it on
        ((HUP, HUP), 0.0, False),
        ((TERM, TERM), 0.2, True),
        ((INT, INT), 0.0, True),
        ((INT, TERM), 0.0, True),
    ],
)
async def test_the_same_request_twice_is_one(
    monkeypatch: pytest.MonkeyPatch, numbers: tuple[signal.Signals, signal.Signals], wait_s: float, at_once: bool
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(serve_module, "ECHO_S", 0.1)
    loop = asyncio.get_running_loop()
    heard = {number: signal.getsignal(number) for number in (TERM, INT, HUP)}
    stop = serve_module._stop_on_signals()
    try:
        os.kill(os.getpid(), numbers[0])
        await asyncio.wait_for(stop.wait(), 5)
        await asyncio.sleep(wait_s)
        os.kill(os.getpid(), numbers[1])
        for _ in range(20):
            await asyncio.sleep(0)
    finally:
        for number, handler in heard.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
    assert bool(ended) == at_once
