"""What is to come here is found out after all where the disk was too full to look."""

from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path

import pytest

from peer.core.identity import EventId, GroupId
from peer.core.wishes import Wish
from peer.errors import DiskFullError
from peer.operations.fetching import Fetching
from peer.wiring import lasting as lasting_module
from peer.wiring.lasting import lasting
from tests.unit.operations.test_fetching import GROUP, Scene, Wishes, until, wish


class DearWishes(Wishes):
    """Some that are only found out where there is room: rules that look into recordings write down what they look at."""

    full = 0
    """How often there is none."""

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        self._find_out()
        return await super().wishes(group, recordings)

    async def pages(self, group: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        self._find_out()
        async for page in super().pages(group):
            yield page

    def _find_out(self) -> None:
        if self.full:
            self.full -= 1
            raise DiskFullError("full")


class LastingScene(Scene):
    """As in a peer, where it outlasts a full disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.wishes: DearWishes = DearWishes()

    @staticmethod
    async def run(fetching: Fetching) -> None:
        await lasting(fetching.run, lambda *_: None)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LastingScene:
    monkeypatch.setattr(lasting_module, "TRY_AGAIN_S", 0.01)
    return LastingScene(tmp_path)


@pytest.mark.parametrize("everything", [True, False])
async def test_what_a_full_disk_kept_from_being_looked_at_is_looked_at_once_there_is_room(scene: LastingScene, *, everything: bool) -> None:
    early, late = wish(1), wish(2, recording=2)
    scene.wishes.all = [early]
    async with scene.running() as fetching:
        await until(lambda: early.file.blob in scene.bytes.here)
        scene.wishes.all.append(late)
        scene.wishes.full = 2
        fetching.touched(frozenset() if everything else {(GROUP, late.file.recording)})
        await until(lambda: late.file.blob in scene.bytes.here)
        assert not scene.wishes.full
