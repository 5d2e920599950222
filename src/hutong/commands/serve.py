"""`hutong serve`: a node, from its start to its clean stop."""

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop
from rich.panel import Panel
from rich.table import Table

from hutong import __version__, logs
from hutong.commands.account import OPERATIONS
from hutong.commands.common import Failed, console, load, operator_errors, where_the_data_is
from hutong.commands.control import control
from hutong.commands.folder import made_for_serving
from hutong.config import Config
from hutong.engines.process import forbid_core_dumps, raise_open_files, shorten_pauses

if TYPE_CHECKING:
    from hutong.node import Node

log = logging.getLogger(__name__)

EXAMPLES = """\b
Examples:
  hutong serve                                   the demo: cn, eu and ru on http://localhost:8008
  hutong serve --data /srv/hutong --port 9000    elsewhere
  hutong serve --config hutong.toml --region ru  one of the regions that hutong.toml lists
"""
INTERRUPTED = 130
ECHO_S = 1.0


@click.command(epilog=EXAMPLES)
@where_the_data_is
@click.option(
    "--port",
    metavar="N",
    help="Serves all regions; the demo's three also have one each on the ports after it.  [default: 8008]",
)
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--region", help="Serve this region alone.")
@operator_errors
def serve(data: Path | None, config_file: Path | None, port: str | None, host: str | None, region: str | None) -> None:
    """Serve until stopped, by Ctrl-C or SIGTERM."""
    config = load(config_file, data, port=port, host=host, region=region)
    made_for_serving(config)
    forbid_core_dumps()
    raise_open_files()
    logs.start(config.log, ((region.name, config.logs_dir(region.name)) for region in config.local_regions))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config))


async def _serve(config: Config) -> None:
    stop = _stop_on_signals()
    node = await _started(config, stop)
    if node is None:
        return
    try:
        async with control(node, config, OPERATIONS):
            shorten_pauses()
            _greet(config, node)
            await stop.wait()
    finally:
        log.info("stopping")
        await node.stop()
        log.info("stopped")


async def _started(config: Config, stop: asyncio.Event) -> "Node | None":
    """The node; None when it was stopped before it had started.

    Raises: Failed when the system refuses something, and an operator's errors.
    """
    from hutong.node import start  # everything: what needs no node does not wait for it

    out = console()
    with out.status("Starting") if out.is_terminal else contextlib.nullcontext():
        starting = asyncio.ensure_future(start(config))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not starting.done():
            starting.cancel()
        try:
            return await starting
        except asyncio.CancelledError:
            return None
        except OSError as error:
            raise Failed(f"{error.strerror or error}. Nothing is running.") from None


def _stop_on_signals() -> asyncio.Event:
    """An event that the first signal to end sets. A second one ends the process at once; the next start recovers.

    The same one again within ECHO_S is the same request: `timeout` and `make` each pass a SIGTERM on. But Ctrl-C twice
    is meant so.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first: list[tuple[signal.Signals, float]] = []

    def on_signal(number: signal.Signals) -> None:
        now = loop.time()
        if not first:
            first.append((number, now))
            stop.set()
        elif number == signal.SIGINT or number != first[0][0] or now - first[0][1] > ECHO_S:
            os._exit(INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants to outlive its terminal
            loop.add_signal_handler(number, on_signal, number)
    return stop


def _greet(config: Config, node: "Node") -> None:
    """Say where to connect."""
    out = console()
    regions = ", ".join(region.name for region in config.local_regions)
    if not out.is_terminal:
        out.print(f"hutong {__version__} serves {regions} on {node.base_url}; data in {config.data}")
        return
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("[bold]all regions[/]", f"[bold cyan]{node.base_url}[/]")
    for region in config.local_regions:
        table.add_row(region.server_name, node.region_url(region.name) or "")
    out.print(Panel.fit(table, title=f"hutong {__version__}", subtitle=f"data in {config.data}", padding=(1, 2)))
    registration = "anybody may register" if config.registration == "open" else "registration is closed"
    out.print(f"Connect any Matrix client to {node.base_url}; {registration}. Ctrl-C stops.")
