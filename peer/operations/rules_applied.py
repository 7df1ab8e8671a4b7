"""What rules say of recordings: the facts that they look at, and the decision for each."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from materializer.values import text_of
from peer.core.finding import Finder, RecordingSummary, Traits
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.policy import Decision, Rule, Subject, changes_ms, decide, looks_at
from peer.core.views import Views

BATCH = 256
"""Recordings that are looked at together."""
SHORT_DIGITS = 8
NS_PER_MS = 1_000_000


class Applied(NamedTuple):
    """What rules say of one recording."""

    summary: RecordingSummary
    decision: Decision
    changes_ms: int | None
    """When they may say something else, because time passes."""


class RulesApplied:
    """Decides about recordings of the groups of this peer."""

    def __init__(self, replica: Replica, views: Views, finder: Finder) -> None:
        """Reads what there is to know of recordings."""
        self._replica = replica
        self._views = views
        self._finder = finder

    async def apply(self, group: GroupId, rules: Sequence[Rule], recordings: Collection[EventId], now_ms: int) -> dict[EventId, Applied]:
        """What `rules` say of those of `recordings` that count."""
        found: dict[EventId, Applied] = {}
        names = self.site_names(group)
        with_labels = looks_at(rules, "annotation")
        waiting = list(recordings)
        for start in range(0, len(waiting), BATCH):
            traits = await self._finder.traits([group], waiting[start : start + BATCH])
            for recording, each in traits.items():
                labels = [said.label for said in await self._views.annotations(group, recording)] if with_labels else ()
                subject = _subject(each, names, labels)
                found[recording] = Applied(each.summary, decide(rules, subject, now_ms), changes_ms(rules, subject, now_ms))
        return found

    def site_names(self, group: GroupId) -> dict[PeerId, str]:
        """What the members of a group are called, and were."""
        view = self._replica.groups.get(group)
        return {} if view is None else {peer: member.name for peer, member in view.roster.members.items()}


def _subject(traits: Traits, names: dict[PeerId, str], labels: Sequence[str]) -> Subject:
    summary = traits.summary
    closed = "complete" if summary.manifest_id is not None else "incomplete"
    return Subject(
        summary.name,
        summary.machine,
        summary.site.hex(),
        names.get(summary.site) or summary.site.hex()[:SHORT_DIGITS],
        summary.created_ns // NS_PER_MS,
        summary.size,
        closed if summary.finalized else "open",
        summary.tags,
        {key: text_of(value) for key, value in summary.properties.items()},
        traits.topics,
        traits.schemas,
        labels,
    )
