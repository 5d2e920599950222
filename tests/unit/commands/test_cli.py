"""The command line without a node: help, errors in one line, and the doctor."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HUTONG = Path(sys.executable).with_name("hutong")


def hutong(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HUTONG_")}
    return subprocess.run(
        [HUTONG, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=plain | env,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["", "serve", "doctor", "region", "account"])
def test_help_shows_examples(command: str) -> None:
    done = hutong(*command.split(), "--help")
    assert done.returncode == 0
    assert "hutong serve" in done.stdout if command in ("", "serve") else "Examples:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (["doctor"], {"HUTONG_PORT": "x"}, 'hutong: HUTONG_PORT is "x"; it can be 0 to 65,535. Nothing was started.\n'),
        (["region", "backup", "us", "f"], {}, 'hutong: there is no region "us"; there are cn, eu, ru\n'),
        (["serve", "--region", "us"], {}, 'hutong: --region is "us"; the regions are cn, eu, ru\n'),
        (["serve", "--port", "abc"], {}, 'hutong: --port is "abc"; it can be 0 to 65,535. Nothing was started.\n'),
        (
            ["serve", "--data", "/proc/x"],
            {},
            (
                "hutong: the data folder /proc/x cannot be made: No such file or directory; give --data another. "
                "Nothing was started.\n"
            ),
        ),
    ],
)
def test_an_operators_mistake_is_one_line_and_status_2(arguments: list[str], env: dict[str, str], message: str) -> None:
    done = hutong(*arguments, **env)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_a_backup_needs_data(tmp_path: Path) -> None:
    done = hutong("region", "backup", "ru", tmp_path / "f", "--data", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "there is no data in" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_something_else_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"PK nothing")
    done = hutong("region", "restore", "ru", tmp_path / "f", "--data", tmp_path, "--yes")
    assert done.returncode == 2
    assert "is no backup of hutong's, or only half of one. Nothing was changed." in done.stderr


def _checks(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {check["subject"]: check for check in json.loads(done.stdout)["checks"]}


def test_the_doctor_finds_nothing_wrong_before_the_first_start(tmp_path: Path) -> None:
    done = hutong("doctor", "--data", tmp_path / "new", "--port", "0", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["wrong"]) == (0, 0), done.stdout
    assert not (tmp_path / "new").exists()  # it changes nothing


def test_the_doctor_names_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = hutong("doctor", "--data", tmp_path, "--port", str(port), "--json")
    assert done.returncode == 1
    assert _checks(done)["ports"]["state"] == "wrong"
    assert f"{port} (all regions)" in _checks(done)["ports"]["found"]


def test_the_doctor_names_a_database_that_is_away(tmp_path: Path) -> None:
    settings = tmp_path / "hutong.toml"
    settings.write_text(
        '[regions.eu]\nnumber = 2\nserver_name = "eu.example"\ndatabase = "postgresql://me:secret@127.0.0.1:9/none"\n'
    )
    done = hutong("doctor", "--config", settings, "--data", tmp_path / "data", "--port", "0", "--json")
    assert done.returncode == 1
    found = _checks(done)["eu database"]
    assert found["state"] == "wrong"
    assert "the database of cell 0 of eu cannot be reached" in found["found"]
    assert "secret" not in done.stdout + done.stderr


def test_a_start_names_the_database_that_is_away(tmp_path: Path) -> None:
    settings = tmp_path / "hutong.toml"
    settings.write_text(
        'port = 0\n[regions.eu]\nnumber = 2\nserver_name = "eu.example"\n'
        'database = "postgresql://me:secret@127.0.0.1:9/none"\n'
    )
    done = hutong("serve", "--config", settings, "--data", tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the database of cell 0 of eu cannot be reached: " in done.stderr
    assert "Nothing was started." in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
