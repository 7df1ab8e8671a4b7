"""Roles that change, and change back, at the worst moment: while rows are being judged by what was there before."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import pytest

from materializer import runner
from materializer.runner import Materializer
from peer.core.control import Role
from peer.core.identity import EventId, GroupId
from peer.core.interfaces import EventStore, Replica, StoredEvent
from tests.histories import MemoryViews, Story, run
from tests.judged_histories import ArrivingStore, ToldJudgement

Hook = Callable[[], None]


class OneByOne(random.Random):
    """Lets a judgement name single events, never whole authors."""

    def random(self) -> float:
        """High."""
        return 0.9


class ScriptedStore(ArrivingStore):
    """A store that is judged as a test says, before and after each question about roles, and around the first page of events."""

    def __init__(self, events: Sequence[StoredEvent]) -> None:
        super().__init__((), OneByOne(0), Counter())
        self.held = [stored._replace(position=number) for number, stored in enumerate(events, 1)]
        self.questions = 0
        self.before: dict[int, Hook] = {}
        self.after: dict[int, Hook] = {}
        self.around_reading: tuple[Hook, Hook] | None = None
        self.judge({})

    def judge(self, changes: Mapping[EventId, Role]) -> None:
        """From now on these have other roles than everybody's own."""
        roles = {stored.event.id: changes.get(stored.event.id, stored.role) for stored in self.held}
        self._judgement = ToldJudgement(roles, {stored.event.id: stored.author for stored in self.held}, self._chance)

    async def events_after(self, position: int, count_max: int) -> list[StoredEvent]:
        """As `EventStore.events_after`."""
        before, after = self.around_reading or (lambda: None, lambda: None)
        self.around_reading = None
        before()
        answer = await super().events_after(position, count_max)
        after()
        return answer

    async def roles(self, group: GroupId, events: Sequence[EventId]) -> Mapping[EventId, Role]:
        """As `EventStore.roles`."""
        self.questions += 1
        self.before.get(self.questions, lambda: None)()
        answer = await super().roles(group, events)
        self.after.get(self.questions, lambda: None)()
        return answer


def set_up() -> tuple[ScriptedStore, MemoryViews, Materializer, list[EventId]]:
    """Three recordings by bob, all projected."""
    story = Story()
    ids = [story.create("bob", name) for name in ("a", "b", "c")]
    store, views = ScriptedStore(story.events), MemoryViews()
    materializer = Materializer(views, cast("EventStore", store), cast("Replica", store))
    run(materializer.start())
    run(materializer.catch_up())
    assert roles(views) == dict.fromkeys(ids, Role.WRITER)
    return store, views, materializer, ids


def roles(views: MemoryViews) -> dict[EventId, Role]:
    rows = views.connection.execute("SELECT id, role, counts FROM recordings").fetchall()
    assert all(counts == (role >= Role.WRITER) for _, role, counts in rows)
    return {EventId(event_id): Role(role) for event_id, role, _ in rows}


def test_roles_that_change_while_they_are_told_are_asked_for_again() -> None:
    """What was told is of neither judgement: told with none, the row would keep that, since the last judgement agrees with the first."""
    store, views, materializer, ids = set_up()
    store.judge({ids[0]: Role.READER})
    store.before[1] = lambda: store.judge({ids[0]: Role.NONE})
    store.after[1] = lambda: store.judge({ids[0]: Role.READER})
    run(materializer.catch_up())
    assert roles(views)[ids[0]] is Role.READER
    assert store.questions > 1


def test_events_that_are_read_while_roles_change_are_read_again() -> None:
    """They were told with roles of neither judgement, and since the last one agrees with the first nobody would look at them again."""
    story = Story()
    recording = story.create("bob")
    store, views = ScriptedStore(story.events), MemoryViews()
    store.around_reading = (lambda: store.judge({recording: Role.NONE}), lambda: store.judge({}))
    materializer = Materializer(views, cast("EventStore", store), cast("Replica", store))
    run(materializer.start())
    run(materializer.catch_up())
    assert roles(views) == {recording: Role.WRITER}


def test_roles_that_change_back_after_half_of_the_rows_were_judged_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last judgement agrees with the first, so nothing has changed since; but a row was judged by the one in between."""
    monkeypatch.setattr(runner, "SINGLE_EVENTS_PAGE", 1)
    store, views, materializer, ids = set_up()
    store.judge(dict.fromkeys(ids, Role.NONE))
    store.after[2] = lambda: store.judge({})
    run(materializer.catch_up())
    assert store.questions > 2
    assert roles(views) == dict.fromkeys(ids, Role.WRITER)


def test_a_new_judgement_with_the_same_roles_asks_for_nothing() -> None:
    store, views, materializer, ids = set_up()
    store.judge({})
    run(materializer.catch_up())
    assert store.questions == 0
    again = Materializer(views, cast("EventStore", store), cast("Replica", store))
    run(again.start())
    run(again.catch_up())
    assert store.questions == 0, "nor does a start"
    assert len(roles(views)) == len(ids)
