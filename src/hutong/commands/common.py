"""What every command shares: where the data is, how errors are told, how a report is shown."""

import functools
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.table import Table

from hutong import config
from hutong.cells.writer import NotTheWriter
from hutong.config import Config, ConfigError
from hutong.engines.binaries import EngineMissing
from hutong.engines.databases import CannotConnect
from hutong.engines.migrations import WrongDatabase
from hutong.engines.node_lock import DataInUse
from hutong.engines.postgres import EngineFailed
from hutong.http.ports import CannotListen
from hutong.vault.keystore import KeystoreError
from hutong.vault.rootkey import RootKeyError

P = ParamSpec("P")
R = TypeVar("R")

CLEAN, FINDINGS, COULD_NOT_LOOK = 0, 1, 2
"""The exit statuses of every command."""

OPERATOR_ERRORS = (
    CannotConnect,
    CannotListen,
    ConfigError,
    DataInUse,
    EngineFailed,
    EngineMissing,
    KeystoreError,
    NotTheWriter,
    RootKeyError,
    WrongDatabase,
)
"""Errors whose message says what an operator is to do; they are shown without a trace."""


class Failed(click.ClickException):
    """It could not be done; the message says why, and what to do."""

    exit_code = COULD_NOT_LOOK

    def show(self, file: Any = None) -> None:
        click.echo(f"hutong: {self.format_message()}", err=True)


def operator_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Tell an operator's errors in one line and end with status 2."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except OPERATOR_ERRORS as error:
            raise Failed(str(error)) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise Failed(f"{error.filename}: {error.strerror}") from None

    return told


def where_the_data_is(command: Callable[P, R]) -> Callable[P, R]:
    """The options `--data` and `--config`."""
    data = click.option(
        "--data", type=click.Path(path_type=Path, file_okay=False), help="The data folder.  [default: data]"
    )
    file = click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The settings, hutong.toml; without it, the demo of three regions.",
    )
    return data(file(command))


def as_json_option(command: Callable[P, R]) -> Callable[P, R]:
    return click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")(command)


def load(config_file: Path | None, data: Path | None, **more: Any) -> Config:
    """The configuration that the command line, the environment and the file give together.

    Raises: ConfigError.
    """
    return config.load(config_file, os.environ, data=data, **more)


def region_of(settings: Config, name: str) -> config.Region:
    """The region that an operator names. Raises: Failed."""
    try:
        return settings.region(name)
    except KeyError:
        known = ", ".join(region.name for region in settings.regions)
        raise Failed(f'there is no region "{name}"; there are {known}') from None


def print_json(report: object) -> None:
    click.echo(json.dumps(report, indent=2, ensure_ascii=False))


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, right: Iterable[str] = ()) -> None:
    """A table for reading; `right`: the columns that are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    console().print(table)


def console() -> Console:
    """Standard output: colour on terminals only, and as wide as it takes where nobody looks."""
    made = Console(highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(highlight=False, width=200)
