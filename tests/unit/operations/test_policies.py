"""Which bytes rules want, and when it is looked at again: with groups and recordings in memory, and a clock that the test sets."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from peer.core.finding import RecordingSummary, Traits
from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import WantedBlob
from peer.core.wishes import Why
from peer.errors import RuleInvalidError
from peer.operations import policies as policies_module
from peer.operations.policies import Policies
from peer.operations.rules_applied import RulesApplied
from tests.patience import PATIENCE_S
from tests.samples import key_pair

GROUP, OTHER = GroupId(b"g" * 32), GroupId(b"o" * 32)
SITE = key_pair("site").peer_id
HOUR_MS = 3_600_000
NEW, OLD = EventId(b"n" * 32), EventId(b"o" * 32)


def blob(recording: EventId, number: int = 0) -> BlobId:
    return BlobId(recording[:31] + bytes([number]))


class World:
    """Two recordings of one group, what is kept of policies, and the time."""

    def __init__(self, stored: Mapping[GroupId, Sequence[str]] | None = None, default: str = "all") -> None:
        self.now_ms = 1000 * HOUR_MS
        self.changes = asyncio.Queue[None]()
        self.kept: dict[GroupId, Sequence[str]] = dict(stored or {})
        self.held_back: set[EventId] = set()
        self.here: set[BlobId] = set()
        self.member = SimpleNamespace(name="truck")
        genesis = SimpleNamespace(name="lab")
        view = SimpleNamespace(genesis=genesis, roster=SimpleNamespace(members={SITE: self.member}))
        self.replica: Any = SimpleNamespace(groups={GROUP: view})
        self.ages_h = {NEW: 0, OLD: 100}
        self.asked_the_time = 0
        applied = RulesApplied(self.replica, self._any(), self._any())
        self.policies = Policies(
            (self.replica, self._any(), self._any()),
            applied,
            self._any(),
            dict(self.kept),
            default=default,
            is_held_back=lambda _, recording: recording in self.held_back,
            now_ms=self._now_ms,
            changed=lambda: self.changes.put_nowait(None),
        )

    def _any(self) -> Any:
        """This, as whatever is asked for."""
        return self

    def _now_ms(self) -> int:
        self.asked_the_time += 1
        return self.now_ms

    async def looked_at_the_clock(self, times: int) -> None:
        """Wait until somebody has, so often."""
        last = self.asked_the_time + times
        async with asyncio.timeout(PATIENCE_S):
            while self.asked_the_time < last:  # noqa: ASYNC110  (a clock tells nobody)
                await asyncio.sleep(0)

    async def keep(self, group: GroupId, rules: Sequence[str]) -> None:
        self.kept[group] = rules

    async def forget(self, group: GroupId) -> None:
        self.kept.pop(group, None)

    def has(self, blob: BlobId) -> bool:
        return blob in self.here

    async def wanted_blobs(self, group: GroupId, recordings: Collection[EventId] | None = None) -> Sequence[WantedBlob]:
        """Two files each, one of them the same."""
        meant = [recording for recording in self.ages_h if recordings is None or recording in recordings]
        files = [(recording, name) for recording in meant for name in (blob(recording), BlobId(b"s" * 32))]
        return [WantedBlob(group, recording, name, 100, 2**20, name, b"", SITE) for recording, name in files]

    async def recording_ids(self, _: GroupId) -> Sequence[EventId]:
        return list(self.ages_h)

    async def traits(self, groups: Sequence[GroupId], recordings: Sequence[EventId]) -> Mapping[EventId, Traits]:
        return {recording: Traits(self._summary(groups[0], recording), ["/a"], ["S"]) for recording in recordings}

    async def annotations(self, _group: GroupId, recording: EventId) -> Sequence[Any]:
        return [SimpleNamespace(label="old")] if recording == OLD else []

    def _summary(self, group: GroupId, recording: EventId) -> RecordingSummary:
        created_ns = (1000 - self.ages_h[recording]) * HOUR_MS * 1_000_000
        facts: Any = (
            group,
            recording,
            SITE,
            recording.decode()[:4],
            "",
            created_ns,
            True,
            b"m",
            False,
            200,
            2,
            5,
            None,
            None,
            ["tag"],
            {},
            None,
            0,
            None,
        )
        return RecordingSummary(*facts)

    async def wanted(self, recordings: Collection[EventId] | None = None) -> set[EventId]:
        if recordings is None:
            return {wish.file.recording async for page in self.policies.pages(GROUP) for wish in page}
        return {wish.file.recording for wish in await self.policies.wishes(GROUP, recordings)}

    async def change(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.changes.get()


async def test_without_rules_the_configuration_says_what_is_wanted() -> None:
    assert await World(default="all").wanted() == {NEW, OLD}
    assert await World(default="none").wanted() == set()
    assert World().policies.show("lab") == {"group_id": GROUP.hex(), "group": "lab", "rules": ["keep"], "is_default": True}


async def test_wishes_say_which_rule_wants_them_and_how_urgently() -> None:
    world = World()
    await world.policies.set("lab", ["keep@7 age<1h", "keep@-3 annotation=old"])

    wishes = {wish.file.blob: wish for wish in await world.policies.wishes(GROUP, None) if wish.file.blob != BlobId(b"s" * 32)}

    assert {wish.why for wish in wishes.values()} == {Why.POLICY}
    assert (wishes[blob(NEW)].priority, wishes[blob(NEW)].reason) == (107, "rule 1: keep@7 age<1h")
    assert (wishes[blob(OLD)].priority, wishes[blob(OLD)].reason) == (97, "rule 2: keep@-3 annotation=old")
    assert await world.wanted([OLD]) == {OLD}


async def test_rules_are_kept_told_of_and_taken_away() -> None:
    world = World()

    await world.policies.set("lab", ["keep 'tag=a b'", "none"])
    await world.change()
    assert world.kept == {GROUP: ["keep 'tag=a b'", "skip"]}
    assert World(world.kept).policies.show("lab") == world.policies.show("lab")
    with pytest.raises(RuleInvalidError):
        await world.policies.set("lab", ["default", "none"])
    assert world.kept == {GROUP: ["keep 'tag=a b'", "skip"]}

    await world.policies.set("lab", ["default"])
    await world.change()
    assert world.kept == {}
    assert await world.wanted() == {NEW, OLD}


async def test_what_was_dropped_by_hand_is_wanted_by_no_rule() -> None:
    world = World()
    world.held_back = {OLD}
    for rules in (["all"], ["keep tag=tag"]):
        await world.policies.set("lab", rules)
        assert await world.wanted() == {NEW}
    tried: Any = await world.policies.dry_run("lab", ["all"], 10)
    assert [(each["id"], each["held_back"], each["travels_bytes"]) for each in tried["recordings"]] == [(NEW.hex(), False, 200), (OLD.hex(), True, 0)]


async def test_rules_that_cannot_be_read_any_more_bring_nothing_and_are_told() -> None:
    for stored in (["keep moon=full"], []):
        world = World({GROUP: stored, OTHER: ["keep moon=full"]})

        assert await world.wanted() == set()
        assert not world.policies.show("lab")["is_default"]
        (problem,) = world.policies.problems()
        assert (problem.code, "policy set" in problem.fix) == ("rule_invalid", True)

        await world.policies.set("lab", ["all"])
        assert world.policies.problems() == []
        assert await world.wanted() == {NEW, OLD}


async def test_a_dry_run_counts_what_is_shared_once_and_what_is_here_not_at_all() -> None:
    world = World()
    world.here = {blob(OLD)}

    tried: Any = await world.policies.dry_run("lab", ["all"], 1)
    assert tried["travels"] == {"recordings": 2, "files": 2, "bytes": 200}
    assert tried["kept"] == {"recordings": 2, "files": 3, "bytes": 300}
    assert (len(tried["recordings"]), tried["left_out"]) == (1, 1)
    some: Any = await world.policies.dry_run("lab", ["keep age<1h"], 10)
    assert (some["travels"]["bytes"], some["skipped"]["recordings"]) == (200, 1)
    assert world.changes.empty()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it look without pauses."""
    monkeypatch.setattr(policies_module, "LOOK_S", 0.01)
    monkeypatch.setattr(policies_module, "LOOK_MIN_S", 0.01)


async def test_when_a_recording_is_too_old_it_is_looked_again_and_not_before(often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del often
    monkeypatch.setattr(policies_module, "CLOCK_SET_MS", 1000 * HOUR_MS)
    world = World()
    await world.policies.set("lab", ["keep age<1h"])
    await world.change()
    assert await world.wanted() == {NEW}
    task = asyncio.create_task(world.policies.run())

    world.now_ms += HOUR_MS - 1
    await world.looked_at_the_clock(50)
    assert world.changes.empty()
    world.now_ms += 1
    await world.change()
    assert await world.wanted() == set()
    await world.looked_at_the_clock(50)
    assert world.changes.empty()
    task.cancel()


async def test_when_the_clock_was_set_it_is_looked_again(often: None) -> None:
    del often
    world = World()
    await world.policies.set("lab", ["keep age<1h"])
    await world.change()
    task = asyncio.create_task(world.policies.run())
    await world.wanted()
    await asyncio.sleep(0)

    world.now_ms -= 100 * HOUR_MS
    await world.change()
    assert await world.wanted() == {NEW, OLD}
    task.cancel()


async def test_when_a_site_gets_another_name_it_is_looked_again(often: None) -> None:
    del often
    world = World()
    await world.policies.set("lab", ["keep site=truck"])
    await world.change()
    assert await world.wanted() == {NEW, OLD}
    task = asyncio.create_task(world.policies.run())

    world.member.name = "van"
    await world.change()
    assert await world.wanted() == set()
    task.cancel()
