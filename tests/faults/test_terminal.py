"""A node in a terminal: what Ctrl-C, a closed window and a killed shell do to it and to its databases."""

import asyncio
import os
import signal
import stat

import psutil
import pytest

from tests.support.process import NodeProcess


async def test_the_databases_do_not_get_the_terminals_ctrl_c(node_process: NodeProcess) -> None:
    await node_process.start()
    group = os.getpgid(node_process.pid)
    servers = [process for process in node_process.postgres() if process.status() != psutil.STATUS_ZOMBIE]
    assert servers
    assert all(os.getpgid(server.pid) != group for server in servers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_ctrl_c_or_a_closed_window_stops_it_cleanly(node_process: NodeProcess, number: signal.Signals) -> None:
    await node_process.start()
    os.kill(node_process.pid, number)
    assert await node_process.ended() == 0
    assert not node_process.postgres()


async def test_the_second_ctrl_c_ends_it_at_once_and_the_next_start_recovers(node_process: NodeProcess) -> None:
    await node_process.start()
    os.kill(node_process.pid, signal.SIGINT)
    await asyncio.sleep(0)
    os.kill(node_process.pid, signal.SIGTERM)
    assert await node_process.ended() in (0, 130)  # 0 when it was faster than the second
    await node_process.start()
    await node_process.register("alice", "cn")


async def test_nobody_else_can_enter_the_data_folder(node_process: NodeProcess) -> None:
    await node_process.start()
    assert stat.S_IMODE(node_process.data.stat().st_mode) == 0o700
