"""The data folder: most commands need one that is a node's already, and `serve` makes none among somebody's files."""

from pathlib import Path

from hutong.commands.common import Failed
from hutong.config import Config, Region
from hutong.engines.node_lock import LOCK_FILE

NAMES_SHOWN = 3
OF_THE_DISK = {"lost+found"}


def regions_in(config: Config) -> tuple[Region, ...]:
    """The regions that a node has made in the data folder. Raises: Failed when there are none: it is no node's."""
    made = tuple(region for region in config.regions if _made(config, region))
    if not made:
        raise Failed(nothing_in(config.data))
    return made


def nothing_in(data: Path) -> str:
    return (
        f"there is no data in {data}: no region of the configuration has anything in it;"
        f" give --data the node's folder (`hutong serve` makes one)"
    )


def _made(config: Config, region: Region) -> bool:
    """Whether there is more of `region` than logs, which a start that failed leaves behind."""
    return config.root_key(region.name).exists() or config.postgres_dir(region.name).exists()


def made_for_serving(config: Config) -> None:
    """Make the data folder when it is not there.

    Raises: Failed when it belongs to somebody else, or is part of a node's; nothing has been written then.
    """
    data = config.data
    for above in data.resolve().parents:
        if (above / LOCK_FILE).exists():
            raise Failed(f"{data} is inside {above}, which is a node's own folder; give --data that, or one elsewhere")
    if (data / "root.key").exists():
        raise Failed(f"{data} is what a node keeps of one region; give --data the folder above it")
    if data.is_dir() and not (data / LOCK_FILE).exists():
        ours = {region.name for region in config.regions} | OF_THE_DISK | ({config.file.name} if config.file else set())
        others = sorted(path.name for path in data.iterdir() if path.name not in ours and path.name[0] != ".")
        if others:
            shown = ", ".join(others[:NAMES_SHOWN]) + (" ..." if len(others) > NAMES_SHOWN else "")
            raise Failed(
                f"{data} is not empty, and what is in it is not hutong's ({shown}); give --data a new folder."
                f" Nothing was started."
            )
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(
            f"the data folder {data} cannot be made: {error.strerror}; give --data another. Nothing was started."
        ) from None
