"""What the runner tells the load generator on its standard input, and what it hears: one JSON object a line."""

import msgspec

from bench.load.window import Result


class PrepareSends(msgspec.Struct, frozen=True, tag=True):
    """Make the world of the sends: `at_once` accounts in `rooms` rooms."""

    rooms: int
    at_once: int


class MeasureSends(msgspec.Struct, frozen=True, tag=True):
    warm_s: float
    seconds: float


class PrepareDeliveries(msgspec.Struct, frozen=True, tag=True):
    """Make the world of the deliveries: one room of `members`."""

    members: int


class RampDeliveries(msgspec.Struct, frozen=True, tag=True):
    """Find how many messages under way saturate a server."""

    members: int
    seconds: float


class MeasureDeliveries(msgspec.Struct, frozen=True, tag=True):
    members: int
    under_way: int
    seconds: float


Command = PrepareSends | MeasureSends | PrepareDeliveries | RampDeliveries | MeasureDeliveries


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """So much of `what` is there."""

    what: str
    done: int
    total: int


class Began(msgspec.Struct, frozen=True, tag=True):
    """A measured window opened just now: read the processor times."""

    concurrency: int


class Closed(msgspec.Struct, frozen=True, tag=True):
    """The measured window closed just now: read the processor times. What is under way is still waited for."""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """What the window counted, and what was missing after it."""

    result: Result


class Done(msgspec.Struct, frozen=True, tag=True):
    """The command is carried out. `saturation`: what a ramp found."""

    saturation: int = 0


class Failed(msgspec.Struct, frozen=True, tag=True):
    why: str


Report = Progressed | Began | Closed | Ended | Done | Failed
