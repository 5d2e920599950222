"""The command line beside a running node, and on one that is stopped."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF
from tests.support.openapi import Contract
from tests.support.places import data_folder, free_ports
from tests.support.process import HUTONG, NodeProcess, environment

CLOSED = 'registration = "closed"\n'
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
async def closed(session: aiohttp.ClientSession, contract: Contract | None) -> AsyncIterator[NodeProcess]:
    """A node of this module's own that lets nobody register."""
    with data_folder("commands") as folder:
        settings = folder / "hutong.toml"
        settings.write_text(CLOSED + LIMITS_OFF + CHEAP_PASSWORDS)
        process = NodeProcess(folder / "data", free_ports(), session, contract, settings)
        await process.start()
        try:
            yield process
        finally:
            await process.kill_everything()


async def hutong(node: NodeProcess, *arguments: str | Path, stdin: str = "") -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command about `node`."""
    process = await asyncio.create_subprocess_exec(
        HUTONG,
        *arguments,
        *("--data", node.data, "--config", node.data.parent / "hutong.toml"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    async with asyncio.timeout(120):
        output, errors = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def report(node: NodeProcess, *arguments: str | Path, stdin: str = "") -> Any:
    """What a command that succeeds prints as JSON."""
    status, output, errors = await hutong(node, *arguments, "--json", stdin=stdin)
    assert status == 0, errors + output
    return json.loads(output)


async def create(node: NodeProcess, name: str, region: str) -> str:
    arguments = ("account", "create", name, "--region", region, "--password-stdin")
    made = await report(node, *arguments, stdin=f"{PASSWORD}\n")
    user_id: str = made["user_id"]
    return user_id


async def login(node: NodeProcess, user_id: str, password: str) -> tuple[int, str]:
    """The status, and the access token when it is 200."""
    who = {"type": "m.id.user", "user": user_id}
    body = {"type": "m.login.password", "identifier": who, "password": password}
    async with node.session.post(f"{node.base_url}/_matrix/client/v3/login", json=body) as response:
        return response.status, (await response.json()).get("access_token", "")


async def sync(node: NodeProcess, token: str, since: str | None = None) -> str:
    """The `next_batch` of a sync."""
    query = {"timeout": "0", **({"since": since} if since else {})}
    headers = {"Authorization": f"Bearer {token}"}
    async with node.session.get(f"{node.base_url}/_matrix/client/v3/sync", params=query, headers=headers) as response:
        assert response.status == 200, await response.text()
        next_batch: str = (await response.json())["next_batch"]
        return next_batch


async def test_accounts_are_made_though_registration_is_closed(closed: NodeProcess) -> None:
    user_id = await create(closed, "masha", "ru")
    assert user_id == "@masha:ru.localhost"
    assert (await login(closed, user_id, PASSWORD))[0] == 200
    listed = await report(closed, "account", "list", "--region", "ru")
    assert {"region": "ru", "user_id": user_id, "state": "active"} in listed
    status, _, errors = await hutong(
        closed, "account", "create", "masha", "--region", "ru", "--password-stdin", stdin=f"{PASSWORD}\n"
    )
    assert (status, errors) == (2, "hutong: username: @masha:ru.localhost is taken\n")


async def test_a_new_password_takes_the_place_of_the_old_one(closed: NodeProcess) -> None:
    user_id = await create(closed, "olga", "eu")
    await report(closed, "account", "password", user_id, "--password-stdin", stdin="battery staple\n")
    assert (await login(closed, user_id, PASSWORD))[0] == 403
    assert (await login(closed, user_id, "battery staple"))[0] == 200


async def test_who_is_erased_is_no_longer_named(closed: NodeProcess) -> None:
    user_id = await create(closed, "ivan", "cn")
    assert await report(closed, "account", "erase", user_id, "--yes") == {"user_id": user_id, "state": "erased"}
    assert (await login(closed, user_id, PASSWORD))[0] == 403
    listed = await report(closed, "account", "list", "--region", "cn")
    assert {"region": "cn", "user_id": None, "state": "erased"} in listed
    assert user_id not in json.dumps(listed)
    status, _, errors = await hutong(closed, "account", "erase", user_id, "--yes")
    assert (status, errors) == (2, f"hutong: {user_id}: there is no such account, or it is closed\n")


@pytest.mark.parametrize(
    ("user_id", "message"),
    [
        ("@masha:elsewhere.org", "@masha:elsewhere.org: no region of this node is elsewhere.org"),
        ("masha", "user_id: is not a user id, which looks like @name:server"),
    ],
)
async def test_an_account_that_is_not_here_is_said_so(closed: NodeProcess, user_id: str, message: str) -> None:
    status, _, errors = await hutong(closed, "account", "deactivate", user_id, "--yes")
    assert (status, errors) == (2, f"hutong: {message}\n")


async def test_the_doctor_finds_a_running_node_well(closed: NodeProcess) -> None:
    found = await report(closed, "doctor", "--port", str(closed.port))
    checks = {check["subject"]: check for check in found["checks"]}
    assert found["wrong"] == 0
    assert f"process {closed.pid} serves since" in checks["node"]["found"]
    elsewhere = {check["subject"]: check for check in (await report(closed, "doctor"))["checks"]}
    assert elsewhere["ports"] == checks["ports"], "the node says where it serves"
    assert (checks["ports"]["state"], f"{closed.port} (all regions)" in checks["ports"]["found"]) == ("good", True)
    for region in ("cn", "eu", "ru"):
        assert checks[f"{region} database"]["state"] == "good"
        assert "tables as declared" in checks[f"{region} database"]["found"]


async def test_regions_are_listed_with_what_they_hold(closed: NodeProcess) -> None:
    await create(closed, "petr", "ru")
    listed = {one["region"]: one for one in await report(closed, "region", "list")}
    assert listed["ru"]["cells"][0]["state"] == "running"
    assert listed["ru"]["cells"][0]["accounts"] >= 1
    assert listed["ru"]["server_name"] == "ru.localhost"


async def test_a_stopped_node_is_asked_as_well_and_stays_stopped(closed: NodeProcess) -> None:
    user_id = await create(closed, "vera", "ru")
    assert await closed.terminate() == 0
    try:
        listed = await report(closed, "account", "list", "--region", "ru")
        assert {"region": "ru", "user_id": user_id, "state": "active"} in listed
        assert not closed.postgres()
    finally:
        await closed.start()
    assert (await login(closed, user_id, PASSWORD))[0] == 200


async def test_a_backup_comes_back_with_its_people_and_without_who_came_later(
    closed: NodeProcess, tmp_path: Path
) -> None:
    before = await create(closed, "early", "ru")
    erased = await create(closed, "gone", "ru")
    file = tmp_path / "ru.hutong"
    made = await report(closed, "region", "backup", "ru", file)
    assert made["bytes"] == file.stat().st_size
    after = await create(closed, "late", "ru")
    await report(closed, "account", "erase", erased, "--yes")

    status, _, errors = await hutong(closed, "region", "restore", "ru", file, "--yes")
    assert (status, f"is in use by process {closed.pid}" in errors) == (2, True)

    assert await closed.terminate() == 0
    await report(closed, "region", "restore", "ru", file, "--yes")
    await closed.start()
    assert (await login(closed, before, PASSWORD))[0] == 200
    assert (await login(closed, after, PASSWORD))[0] == 403
    assert (await login(closed, erased, PASSWORD))[0] == 403
    listed = await report(closed, "account", "list", "--region", "ru")
    assert before in {one["user_id"] for one in listed}
    assert not {erased, after} & {one["user_id"] for one in listed}


async def test_a_token_from_before_a_restore_starts_its_client_afresh(closed: NodeProcess, tmp_path: Path) -> None:
    user_id = await create(closed, "nina", "ru")
    _, token = await login(closed, user_id, PASSWORD)
    since = await sync(closed, token)
    file = tmp_path / "ru.hutong"
    await report(closed, "region", "backup", "ru", file)
    assert await closed.terminate() == 0
    await report(closed, "region", "restore", "ru", file, "--yes")
    await closed.start()
    assert (await sync(closed, token, since)).split(".")[1] != since.split(".")[1]


async def test_a_killed_nodes_socket_is_no_hindrance(closed: NodeProcess) -> None:
    await closed.kill()
    listed = await report(closed, "account", "list")  # by a node of its own, which takes the orphans over
    assert isinstance(listed, list)
    await closed.start()
    await create(closed, "lena", "eu")
