"""`hutong account`: the accounts of a node, done by the node itself, whether it runs or not."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hutong.accounts.names import parse_user_id
from hutong.commands.common import (
    Failed,
    as_json_option,
    load,
    operator_errors,
    print_json,
    print_table,
    region_of,
    where_the_data_is,
)
from hutong.commands.control import Operation, Refused, ask
from hutong.commands.folder import regions_in
from hutong.config import Config
from hutong.engines.node_lock import holder

if TYPE_CHECKING:
    from hutong.ids import AccountNo, CellNo
    from hutong.node import Node

EXAMPLES = """\b
Examples:
  hutong account list --region ru
  hutong account create masha --region ru            asks for a password
  echo "$PASSWORD" | hutong account create masha --region ru --password-stdin
  hutong account erase @masha:ru.localhost           what she wrote can be read nowhere any more
"""


@click.group(epilog=EXAMPLES)
def account() -> None:
    """The accounts of a node."""


@account.command("list")
@where_the_data_is
@click.option("--region", help="Only this region's.")
@as_json_option
@operator_errors
def list_accounts(data: Path | None, config_file: Path | None, region: str | None, as_json: bool) -> None:
    """Show who has an account, and in which state it is."""
    config = _node(config_file, data)
    report = _ask(config, "account list", region=region and region_of(config, region).name)
    if as_json:
        print_json(report)
        return
    print_table(("region", "user id", "state"), [(one["region"], one["user_id"], one["state"]) for one in report])


@account.command()
@where_the_data_is
@click.argument("name")
@click.option("--region", help="The home region.  [default: the configured one]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@as_json_option
@operator_errors
def create(
    data: Path | None, config_file: Path | None, name: str, region: str | None, password_stdin: bool, as_json: bool
) -> None:
    """Make an account for NAME, also where registration is closed."""
    config = _node(config_file, data)
    home = region_of(config, region or config.default_region)
    report = _ask(config, "account create", name=name, region=home.name, password=_password(from_stdin=password_stdin))
    if as_json:
        print_json(report)
    else:
        click.echo(f"{report['user_id']} can log in now.")


@account.command()
@where_the_data_is
@click.argument("user_id")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@as_json_option
@operator_errors
def password(data: Path | None, config_file: Path | None, user_id: str, password_stdin: bool, as_json: bool) -> None:
    """Give USER_ID a new password and log every device out."""
    config = _node(config_file, data)
    report = _ask(config, "account password", user_id=user_id, password=_password(from_stdin=password_stdin))
    if as_json:
        print_json(report)
    else:
        click.echo(f"{user_id} has a new password; every device is logged out.")


@account.command()
@where_the_data_is
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
@operator_errors
def deactivate(data: Path | None, config_file: Path | None, user_id: str, yes: bool, as_json: bool) -> None:
    """Close the account of USER_ID: it leaves every room; what was written stays readable."""
    _away(
        data, config_file, user_id, "account deactivate", f"Close the account of {user_id}?", "is closed", yes, as_json
    )


@account.command()
@where_the_data_is
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
@operator_errors
def erase(data: Path | None, config_file: Path | None, user_id: str, yes: bool, as_json: bool) -> None:
    """Erase USER_ID: leave every room, delete every word, and destroy the key, so that no backup opens them."""
    question = f"Erase {user_id}, so that nobody can read what they wrote any more, not from a backup either?"
    _away(data, config_file, user_id, "account erase", question, "is erased", yes, as_json)


def _away(
    data: Path | None, config_file: Path | None, user_id: str, operation: str, question: str, done: str,
    yes: bool, as_json: bool,
) -> None:  # fmt: skip
    config = _node(config_file, data)
    if not yes:
        click.confirm(question, abort=True, err=True)
    report = _ask(config, operation, user_id=user_id)
    if as_json:
        print_json(report)
    else:
        click.echo(f"{user_id} {done}.")


def _node(config_file: Path | None, data: Path | None) -> Config:
    """The configuration, of a node that is there: before anything is asked. Raises: ConfigError, Failed."""
    config = load(config_file, data)
    if holder(config.data) is None:
        regions_in(config)
    return config


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise Failed("there is no terminal to ask for the password on; pass it to --password-stdin")
    text: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return text


def _ask(config: Config, operation: str, **arguments: Any) -> Any:
    try:
        return asyncio.run(ask(config, operation, OPERATIONS, **arguments))
    except Refused as refused:
        raise Failed(str(refused)) from None


# What the node does


async def _list(node: "Node", arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for region in node.config.local_regions:
        if arguments["region"] not in (None, region.name):
            continue
        for cell in region.cells:
            async for state, user_id in node.services[cell.number].accounts.everyone():
                found.append({"region": region.name, "user_id": user_id, "state": state.name.lower()})
    return sorted(found, key=lambda one: (one["region"], one["user_id"] or "~"))


async def _create(node: "Node", arguments: Mapping[str, Any]) -> dict[str, Any]:
    region = node.config.region(arguments["region"])
    if not region.local:
        raise Refused(f"region {region.name} has no accounts in {node.config.data}: `hutong serve` makes it")
    first = node.services[region.cells[0].number].accounts
    cell = region.cell_of(first.bucket(await first.available(arguments["name"])))
    accounts = node.services[cell.number].accounts
    number = await accounts.register(arguments["name"], arguments["password"])
    return {"region": region.name, "user_id": await accounts.user_id(number)}


async def _set_password(node: "Node", arguments: Mapping[str, Any]) -> dict[str, Any]:
    cell, number = await _find(node, arguments["user_id"])
    await node.services[cell].accounts.set_password(number, arguments["password"])
    await node.services[cell].sessions.end_all(number)
    return {"user_id": arguments["user_id"]}


async def _deactivate(node: "Node", arguments: Mapping[str, Any]) -> dict[str, Any]:
    cell, number = await _find(node, arguments["user_id"])
    await node.services[cell].erasure.deactivate(number, erase=False)
    return {"user_id": arguments["user_id"], "state": "closed"}


async def _erase(node: "Node", arguments: Mapping[str, Any]) -> dict[str, Any]:
    cell, number = await _find(node, arguments["user_id"])
    await node.services[cell].erasure.erase(number)
    return {"user_id": arguments["user_id"], "state": "erased"}


async def _find(node: "Node", text: str) -> "tuple[CellNo, AccountNo]":
    """The cell and the account of a user id. Raises: Refused, BadParam."""
    user_id = parse_user_id(text)
    region = next((one for one in node.config.local_regions if one.server_name == user_id.server_name), None)
    if region is None:
        raise Refused(f"{text}: no region of this node is {user_id.server_name}")
    first = node.services[region.cells[0].number].accounts
    cell = region.cell_of(first.bucket(user_id.localpart))
    number = await node.services[cell.number].accounts.find(user_id.localpart)
    if number is None:
        raise Refused(f"{text}: there is no such account, or it is closed")
    return cell.number, number


OPERATIONS: dict[str, Operation] = {
    "account list": _list,
    "account create": _create,
    "account password": _set_password,
    "account deactivate": _deactivate,
    "account erase": _erase,
}
