"""Which cell serves a home, and which region a server name means: the configuration, read once."""

from hutong.config import Config, Region
from hutong.ids import CellNo, HomeNo, RegionNo, bucket_of, region_of


class Directory:
    """Cost of each look-up: a dictionary, and within a region of many cells a scan of them."""

    def __init__(self, config: Config) -> None:
        self._regions = {region.number: region for region in config.regions}
        self._by_server = {region.server_name: region for region in config.regions}
        self._by_cell = {cell.number: region for region in config.regions for cell in region.cells}

    def cell_of(self, home: HomeNo) -> CellNo:
        """The cell that serves `home`. Raises KeyError for a region that is not configured."""
        region = self._regions[region_of(home)]
        bucket = bucket_of(home)
        return next(cell.number for cell in region.cells if bucket in cell.buckets)

    def region_of_cell(self, cell: CellNo) -> Region:
        return self._by_cell[cell]

    def region(self, number: RegionNo) -> Region:
        return self._regions[number]

    def region_of_server(self, server_name: str) -> Region | None:
        """The region that bears this Matrix server name."""
        return self._by_server.get(server_name)

    def region_of_user(self, user_id: str) -> Region | None:
        """The region in which a person with this user id would be at home."""
        return self._by_server.get(user_id.partition(":")[2])

    def regions(self) -> list[Region]:
        return list(self._regions.values())

    def cells(self) -> list[CellNo]:
        return list(self._by_cell)

    def first_cell(self, region: Region) -> CellNo:
        """A cell of `region` to ask when only a name is known; it passes the question on within its region."""
        return region.cells[0].number

    def server_name(self, home: HomeNo) -> str:
        return self._regions[region_of(home)].server_name
