"""How many recordings have too few copies: counted again when something changed, and only then."""

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from materializer.values import MIN_COPIES
from peer.core.identity import GroupId
from peer.core.interfaces import BlobStore
from peer.core.views import GroupState, RegisterView, Views
from peer.errors import NotFoundError
from peer.operations.copies import Copies
from peer.operations.finding import Finding

GROUP = GroupId(b"g" * 32)
ROWS = [
    {"finalized": True, "copies": 1, "copies_wanted": 2},
    {"finalized": True, "copies": 2, "copies_wanted": 2},
    {"finalized": False, "copies": 1, "copies_wanted": 2},
    {"finalized": True, "copies": 0, "copies_wanted": 2},
]


class Group:
    """Lists, settings and bytes of one group, as far as copies hang on them."""

    def __init__(self) -> None:
        self.added = self.removed = self.asked = 0
        self.wanted = 2
        self.left = False

    async def page(self, _filters: Mapping[str, object], _limit: int, cursor: str | None) -> Mapping[str, object]:
        self.asked += 1
        if self.left:
            raise NotFoundError("there is no such group")
        return {"recordings": ROWS[:2] if cursor is None else ROWS[2:], "next": "more" if cursor is None else None}

    async def settings(self, _group: GroupId) -> Sequence[RegisterView]:
        return [_Setting(MIN_COPIES, self.wanted)]  # type: ignore[list-item]


class _Setting:
    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def copies(group: Group) -> Copies:
    return Copies(cast("Finding", group), cast("Views", group), cast("BlobStore", group))


async def test_finalized_recordings_on_all_pages_count_and_open_ones_do_not(copies: Copies) -> None:
    assert await copies.too_few(GROUP, GroupState(5, b"1", 0), 5) == 2


async def test_nobody_counts_again_until_something_changed(copies: Copies, group: Group) -> None:
    state = GroupState(5, b"1", 0)
    for _ in range(3):
        assert await copies.too_few(GROUP, state, 5) == 2
    assert group.asked == 2, "two pages, once"
    group.added += 1
    await copies.too_few(GROUP, state, 5)
    group.removed += 1
    await copies.too_few(GROUP, state, 5)
    await copies.too_few(GROUP, state._replace(state_digest=b"2"), 5)
    await copies.too_few(GROUP, GroupState(6, b"2", 0), 6)
    assert group.asked == 10


async def test_while_views_follow_the_log_the_last_count_stands(copies: Copies, group: Group) -> None:
    assert await copies.too_few(GROUP, GroupState(1, b"0", 0), 5) == 0
    assert group.asked == 0, "whoever asks for the status does not wait for lists"
    await copies.too_few(GROUP, GroupState(5, b"1", 0), 5)
    assert await copies.too_few(GROUP, GroupState(5, b"1", 0), 9) == 2
    assert group.asked == 2


async def test_a_group_that_asks_for_one_copy_or_was_left_has_none_too_few(copies: Copies, group: Group) -> None:
    group.wanted = 1
    assert await copies.too_few(GROUP, GroupState(5, b"1", 0), 5) == 0
    assert group.asked == 0
    group.wanted, group.left = 2, True
    assert await copies.too_few(GROUP, GroupState(6, b"2", 0), 6) == 0
