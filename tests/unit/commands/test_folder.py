"""Which folders the commands work on, and which `serve` makes a node in."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hutong import config
from hutong.cli import main
from hutong.commands.folder import made_for_serving


def _hutong(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env={"HUTONG_CONFIG": ""})


A_NODES = (
    ["account", "list"],
    ["account", "create", "masha"],
    ["account", "password", "@masha:ru.localhost", "--password-stdin"],
    ["account", "deactivate", "@masha:ru.localhost", "--yes"],
    ["account", "erase", "@masha:ru.localhost", "--yes"],
    ["region", "list"],
    ["region", "backup", "ru", "ru.hutong"],
    ["region", "restored", "ru"],
    ["audit", "residency"],
)


@pytest.mark.parametrize("command", A_NODES, ids=" ".join)
@pytest.mark.parametrize("there", [True, False], ids=["empty", "absent"])
def test_a_folder_that_is_no_nodes_is_refused_and_stays_as_it_is(
    tmp_path: Path, command: list[str], there: bool
) -> None:
    folder = tmp_path / "data"
    if there:
        folder.mkdir()
        (folder / "cn" / "logs").mkdir(parents=True)  # of a start that failed
    before = sorted(tmp_path.rglob("*"))
    done = _hutong(*command, "--data", folder)
    assert (done.exit_code, done.stdout) == (2, ""), done.stderr
    assert done.stderr == (
        f"hutong: there is no data in {folder}: no region of the configuration has anything in it;"
        " give --data the node's folder (`hutong serve` makes one)\n"
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("there", "data", "message"),
    [
        (["note.txt", "cn/"], "", "is not empty, and what is in it is not hutong's (note.txt); give --data a new"),
        (["a", "b", "c", "d"], "", "is not hutong's (a, b, c ...); give --data a new folder. Nothing was started."),
        (["node.lock", "ru/root.key"], "ru", "is inside {0}, which is a node's own folder"),
        (["node.lock", "ru/root.key"], "ru/new", "is inside {0}, which is a node's own folder"),
        (["ru/root.key"], "ru", "is what a node keeps of one region; give --data the folder above it"),
    ],
)
def test_no_node_is_made_among_other_files(tmp_path: Path, there: list[str], data: str, message: str) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    before = sorted(tmp_path.rglob("*"))
    done = _hutong("serve", "--data", tmp_path / data, "--port", "0")
    assert (done.exit_code, done.stdout) == (2, ""), done.stderr
    assert message.format(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_what_belongs_to_the_disk_or_to_the_settings_is_no_hindrance(tmp_path: Path) -> None:
    settings = tmp_path / "hutong.toml"
    settings.write_text('data = "."\n')
    for name in ("lost+found", ".Trash", "cn"):
        (tmp_path / name).mkdir()
    made_for_serving(config.load(settings, {}))
    (tmp_path / "note.txt").touch()
    (tmp_path / "node.lock").touch()  # a node was here
    made_for_serving(config.load(settings, {}))


def test_a_password_cannot_be_asked_for_without_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "ru").mkdir()
    (tmp_path / "ru" / "root.key").touch()
    done = _hutong("account", "create", "masha", "--data", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "hutong: there is no terminal to ask for the password on; pass it to --password-stdin\n"
