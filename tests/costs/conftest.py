"""The sizes of the scene, in the demo's regions."""

import pytest

from hutong.node import Node
from tests.costs.operations import OPERATIONS, Measured, measure
from tests.costs.scene import CROWD, LARGE, SMALL, Newcomer, Scene, scene


@pytest.fixture(scope="session")
async def in_small(node: Node, newcomer: Newcomer) -> Measured:
    """What every operation costs in the small scene, while there is no larger one."""
    small = await scene(newcomer, SMALL)
    return {name: await measure(node, small, name) for name in OPERATIONS}


@pytest.fixture(scope="session")
async def in_large(node: Node, newcomer: Newcomer, in_small: Measured) -> Measured:
    large = await scene(newcomer, LARGE)
    return {name: await measure(node, large, name) for name in OPERATIONS}


@pytest.fixture(scope="session")
async def crowd(newcomer: Newcomer) -> Scene:
    return await scene(newcomer, CROWD)
