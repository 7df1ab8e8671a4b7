"""A hub whose disk has no room."""

import pytest

from peer.errors import DiskFullError
from peer.hub.hub import Hub
from peer.hub.records import OPERATOR, Moment, State


class Disk:
    """Keeps nothing while it is full."""

    def __init__(self) -> None:
        self.is_full = False

    async def load(self) -> State:
        return State()

    async def save(self, _state: State) -> None:
        if self.is_full:
            raise DiskFullError("no space left")


async def test_a_full_disk_is_reported_when_it_becomes_full_and_not_by_each_who_asks() -> None:
    """What could not be kept did not happen; once there is room again all goes on."""
    reports: list[str] = []
    disk = Disk()
    hub = Hub(disk, lambda: Moment(1, 1), 60.0, lambda event, _error: reports.append(event))
    await hub.open()
    for _ in range(2):
        disk.is_full = True
        for _ in range(3):
            with pytest.raises(DiskFullError):
                await hub.make_key(None, 1, None, OPERATOR)
        disk.is_full = False
        await hub.make_key(None, 1, None, OPERATOR)

    assert reports == ["the hub cannot write"] * 2
    assert len(hub.state.keys) == 2
