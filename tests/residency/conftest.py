"""Nodes of their own: an audit reads a whole data folder, and the tests leave things in it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from hutong import config
from hutong.node import Node, start
from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF
from tests.residency.scene import Canaries, Scene, play
from tests.support.client import Http
from tests.support.openapi import Contract
from tests.support.places import data_folder, free_ports


@dataclass
class Place:
    """A node, its folders, and the chat that took place on it."""

    node: Node
    folder: Path
    scene: Scene

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def settings(self) -> Path:
        return self.folder / "hutong.toml"


@pytest.fixture(scope="module")
async def site(session: aiohttp.ClientSession, contract: Contract | None) -> AsyncIterator[Place]:
    """A running node after the chat."""
    with data_folder("residency") as folder:
        (folder / "hutong.toml").write_text(LIMITS_OFF + CHEAP_PASSWORDS)
        node = await start(config.load(folder / "hutong.toml", {}, data=folder / "data", port=free_ports()))
        try:
            scene = await play(Http(session, node.base_url, contract), Canaries())
            yield Place(node, folder, scene)
        finally:
            await node.stop()
