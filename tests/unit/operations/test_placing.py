"""Which copies this site takes, and when: with groups and recordings in memory, and a clock that the test sets."""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import SimpleNamespace
from typing import Any

import pytest

from materializer.values import MIN_COPIES
from peer.core.control import Role
from peer.core.finding import RecordingSummary, Traits
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.neighbours import SiteSeen
from peer.core.placing import MARGIN_BYTES, place
from peer.core.wishes import PRIORITIES, Why
from peer.operations.placing import TURN_S, Placing, PlacingParts
from tests.samples import key_pair

GROUP = GroupId(b"g" * 32)
NAMES = ("maker", "me", "carol", "dave")
IDS = {name: key_pair(name).peer_id for name in NAMES}
GB = 10**9
AFTER_S = 60.0
RECORDINGS = [EventId(number.to_bytes(32, "big")) for number in range(40)]


class World:
    """One group of four sites, its recordings made by one of them, who holds what, and what sites say of themselves."""

    def __init__(self, wanted: int = 2, recordings: Sequence[EventId] = RECORDINGS) -> None:
        self.wanted = wanted
        self.recordings = list(recordings)
        self.roles = dict.fromkeys(IDS.values(), Role.WRITER)
        self.room = dict.fromkeys(IDS.values(), 1000 * GB)
        self.said: dict[BlobId, set[PeerId]] = {}
        self.unsaid: dict[BlobId, set[PeerId]] = {}
        self.lies: set[object] = set()
        self.here: set[BlobId] = set()
        self.unlisted: set[EventId] = set()
        self.added = self.removed = self.reads = 0
        self.told: list[AbstractSet[tuple[GroupId, EventId]]] = []
        roster = SimpleNamespace(members=self.roles, role=lambda peer: self.roles.get(peer, Role.NONE))
        replica: Any = SimpleNamespace(groups={GROUP: SimpleNamespace(roster=roster)})
        this: Any = self
        parts = PlacingParts(IDS["me"], replica, this, this, this, this.seen, lambda: self.room[IDS["me"]], lambda *lie: lie in self.lies)
        self.placing = Placing(parts, after_s=AFTER_S, changed=self.told.append)

    def seen(self, _group: GroupId) -> list[SiteSeen]:
        return [SiteSeen(peer, "1", 0, True, free, free, peer, 1, 0) for peer, free in self.room.items() if peer != IDS["me"]]  # noqa: FBT003

    async def settings(self, _group: GroupId) -> Sequence[Any]:
        return [SimpleNamespace(name=MIN_COPIES, value=self.wanted)]

    async def group_state(self, _group: GroupId) -> Any:
        return SimpleNamespace(state_digest=repr((self.recordings, self.said, self.unsaid, self.unlisted)).encode())

    async def wanted_blobs(self, group: GroupId, recordings: Collection[EventId] | None = None) -> Sequence[WantedBlob]:
        self.reads += recordings is None
        meant = [recording for recording in self.recordings if recordings is None or recording in recordings]
        return [WantedBlob(group, recording, BlobId(recording), GB, 2**20, BlobId(recording), b"", IDS["maker"]) for recording in meant]

    async def traits(self, groups: Sequence[GroupId], recordings: Sequence[EventId]) -> Mapping[EventId, Traits]:
        return {each: Traits(self._summary(groups[0], each), [], []) for each in recordings}

    async def holders(self, _group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, AbstractSet[PeerId]]:
        return {each: self.said[each] for each in blobs if each in self.said}

    async def released(self, _group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, AbstractSet[PeerId]]:
        return {each: self.unsaid[each] for each in blobs if each in self.unsaid}

    def has(self, blob: BlobId) -> bool:
        return blob in self.here

    def _summary(self, group: GroupId, recording: EventId) -> RecordingSummary:
        many: Any = (None, None, [], {}, None, 0, None)
        return RecordingSummary(group, recording, IDS["maker"], "run", "", 0, recording not in self.unlisted, b"m", False, GB, 1, 5, *many)  # noqa: FBT003

    async def taken(self, now_s: float = AFTER_S) -> set[EventId]:
        """What this site takes, where it looked at time 0, too."""
        await self.placing.look(GROUP, 0)
        await self.placing.look(GROUP, now_s)
        return {wish.file.recording for wish in await self.placing.wishes(GROUP, None)}


def mine(count: int = 1, among: Sequence[str] = ("me", "carol", "dave")) -> set[EventId]:
    """Those for which this site is one of so many, worked out here."""
    orders = {each: sorted((IDS[name] for name in among), key=lambda peer, each=each: place(each, peer)) for each in RECORDINGS}  # type: ignore[misc]
    return {each for each, order in orders.items() if IDS["me"] in order[:count]}


async def test_a_site_takes_what_it_is_chosen_for_after_a_while_and_says_why() -> None:
    world = World()
    assert await world.taken(AFTER_S - 1) == set()
    assert world.told == []

    assert await world.taken() == mine()
    assert world.told == [{(GROUP, each) for each in mine()}]
    (wish, *_) = await world.placing.wishes(GROUP, None)
    assert (wish.why, wish.priority, wish.reason) == (Why.COPIES, PRIORITIES[Why.COPIES], "1 of 2 copies: this site takes one")
    one = next(iter(mine()))
    assert [wish.file.recording for wish in await world.placing.wishes(GROUP, [one])] == [one]
    assert not await world.placing.wishes(GROUP, [next(each for each in RECORDINGS if each not in mine())])


async def test_nothing_is_taken_where_a_group_asks_for_no_more_than_one_copy() -> None:
    world = World(wanted=1)
    assert await world.taken() == set()

    world.wanted = 2
    assert await world.taken() == mine()
    world.wanted = 1
    assert await world.taken() == set()


async def test_copies_that_others_take_meanwhile_need_not_be_taken() -> None:
    world = World()
    await world.taken()
    world.said = {BlobId(each): {IDS["maker"], IDS["carol"]} for each in RECORDINGS}

    assert await world.taken() == set()
    assert world.told[-1] == {(GROUP, each) for each in mine()}


async def test_a_copy_of_somebody_who_was_removed_counts_no_more() -> None:
    world = World()
    world.said = {BlobId(each): {IDS["maker"], IDS["carol"]} for each in RECORDINGS}
    assert await world.taken() == set()

    world.roles[IDS["carol"]] = Role.NONE
    assert await world.taken() == mine(1, ["me", "dave"])


async def test_a_copy_of_somebody_who_could_not_prove_it_does_not_count() -> None:
    world = World()
    world.said = {BlobId(each): {IDS["maker"], IDS["carol"]} for each in RECORDINGS}
    world.lies = {(GROUP, each, IDS["carol"]) for each in RECORDINGS}

    assert await world.taken() == mine()


async def test_a_maker_that_dropped_its_copy_does_not_count() -> None:
    world = World()
    world.said = {BlobId(each): {IDS["carol"]} for each in RECORDINGS}
    assert await world.taken() == set()

    world.unsaid = {BlobId(each): {IDS["maker"]} for each in RECORDINGS}
    assert await world.taken() == mine(1, ["maker", "me", "dave"])


async def test_what_is_here_is_still_recorded_or_has_no_room_is_not_taken() -> None:
    world = World()
    first, second = sorted(mine())[:2]
    world.here, world.unlisted = {BlobId(first)}, {second}
    assert await world.taken() == mine() - {first, second}

    world = World()
    world.room[IDS["me"]] = 2 * GB + MARGIN_BYTES
    assert await world.taken() == set(sorted(mine())[:2])


async def test_others_are_chosen_where_this_site_said_it_has_no_room_and_it_for_them() -> None:
    world = World()
    world.room[IDS["carol"]] = 0
    assert await world.taken() == mine(1, ["me", "dave"])

    world.room = {IDS["me"]: 1000 * GB}
    assert await world.taken() == set(RECORDINGS)


async def test_who_is_chosen_and_does_not_do_it_is_joined_by_the_next_one() -> None:
    world = World()
    assert await world.taken(AFTER_S + TURN_S - 1) == mine(1)
    assert await world.taken(AFTER_S + TURN_S) == mine(2)
    assert await world.taken(AFTER_S + 2 * TURN_S) == set(RECORDINGS)


async def test_nothing_is_read_again_where_nothing_changed() -> None:
    world = World()
    await world.taken()
    reads = world.reads
    await world.taken()
    assert world.reads == reads

    world.added += 1
    await world.taken()
    assert world.reads == reads + 1


@pytest.mark.parametrize("role", [Role.NONE, Role.READER])
async def test_readers_take_copies_and_strangers_do_not(role: Role) -> None:
    world = World()
    world.roles[IDS["me"]] = role

    assert await world.taken() == (mine() if role is Role.READER else set())
