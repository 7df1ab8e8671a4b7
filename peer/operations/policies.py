"""Which bytes this site wants by its rules, group by group.

They are computed and never remembered: of a recording that changes, and of all when one becomes too old or old enough by the clock of this machine.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import BlobStore, Replica
from peer.core.policy import Rule, looks_at, read_rules
from peer.core.views import Views
from peer.core.wishes import PRIORITIES, Why, Wish
from peer.errors import MeshError, RuleInvalidError
from peer.operations.json_form import Json
from peer.operations.references import find_group
from peer.operations.rules_applied import RulesApplied
from peer.operations.rules_tried import RulesTried

DEFAULT = "default"
"""As the only rule: what the configuration says."""
PAGE = 256
"""Recordings that are looked at together."""
LOOK_S = 60.0
"""So often at least it is looked whether an age was reached: the clock may have been set."""
CLOCK_SET_MS = 30_000
LOOK_MIN_S = 1.0
LOOK_SHARE = 20
"""A look at all recordings because of their age is followed by a pause so many times as long as it took."""

IsHeldBack = Callable[[GroupId, EventId], bool]


class KeptPolicies(Protocol):
    """Where policies are remembered."""

    async def keep(self, group: GroupId, rules: Sequence[str]) -> None:
        """Remember these, durably, instead of others."""
        ...

    async def forget(self, group: GroupId) -> None:
        """Remember none, durably."""
        ...


class Policies:
    """The policies of this site: a `Wishing`."""

    def __init__(  # noqa: PLR0913  (its collaborators)
        self,
        parts: tuple[Replica, Views, BlobStore],
        applied: RulesApplied,
        kept: KeptPolicies,
        stored: Mapping[GroupId, Sequence[str]],
        *,
        default: str,
        is_held_back: IsHeldBack,
        now_ms: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        """`stored` is what `kept` holds; `default` is `all` or `none`, for groups of which it holds nothing.

        What `is_held_back` was dropped by a person; `changed` is called when something else may be wanted.
        """
        self._replica, self._views, blobs = parts
        self._applied = applied
        self._tried = RulesTried(self._replica, self._views, blobs, applied)
        self._kept = kept
        self._default = default
        self._is_held_back = is_held_back
        self._now_ms = now_ms
        self._changed = changed
        self._rules: dict[GroupId, Sequence[Rule]] = {}
        self._unread: dict[GroupId, RuleInvalidError] = {}
        for group, texts in stored.items():
            self._read(group, texts)
        self._next_ms: dict[GroupId, int] = {}
        """When the next recording of a group is too old, or old enough."""
        self._names: dict[GroupId, Mapping[PeerId, str]] = {}
        """What the sites of a group were called when all of its recordings were looked at, where rules name sites."""
        self._noted = asyncio.Event()
        self._took_s = 0.0

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        """What the rules of the group keep."""
        rules = self.rules(group)
        if not any(rule.keep for rule in rules):
            return []
        if looks_at(rules, "site"):
            self._names.setdefault(group, self._applied.site_names(group))
        files = await self._views.wanted_blobs(group, recordings)
        first = rules[0]
        if not first.conditions:
            priority = PRIORITIES[Why.POLICY] + first.priority
            return [Wish(file, Why.POLICY, priority, f"rule 1: {first.text}") for file in files if not self._is_held_back(group, file.recording)]
        found = await self._applied.apply(group, rules, {file.recording for file in files}, self._now_ms())
        self._note_ages(group, [each.changes_ms for each in found.values()])
        kept = {recording: each.decision for recording, each in found.items() if each.decision.keep and not self._is_held_back(group, recording)}
        return [
            Wish(file, Why.POLICY, PRIORITIES[Why.POLICY] + decision.priority, decision.reason)
            for file in files
            if (decision := kept.get(file.recording))
        ]

    async def pages(self, group: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        """As `Wishing.pages`, by what holds now."""
        self._next_ms.pop(group, None)
        self._names.pop(group, None)
        if not any(rule.keep for rule in self.rules(group)):
            return
        took_s, loop = 0.0, asyncio.get_running_loop()
        recordings = await self._views.recording_ids(group)
        for start in range(0, len(recordings), PAGE):
            began_s = loop.time()
            wishes = await self.wishes(group, recordings[start : start + PAGE])
            took_s += loop.time() - began_s
            yield wishes
        self._took_s = took_s

    def rules(self, group: GroupId) -> Sequence[Rule]:
        """What holds for a group. Of rules that cannot be read nothing is kept: they were to keep something out, perhaps."""
        if group in self._unread:
            return read_rules(["none"])
        return self._rules.get(group) or read_rules([self._default])

    def all(self) -> list[Json]:
        """The policies of all groups, by name."""
        return sorted((self._describe(group) for group in self._replica.groups), key=lambda each: (str(each["group"]), str(each["group_id"])))

    def show(self, reference: str) -> Json:
        """The policy of a group."""
        return self._describe(find_group(self._replica, reference)[0])

    async def set(self, reference: str, texts: Sequence[str]) -> Json:
        """Give a group other rules; the word `default` alone takes its rules away. Raises `RuleInvalidError`."""
        group, _ = find_group(self._replica, reference)
        if list(texts) == [DEFAULT]:
            await self._kept.forget(group)
            self._rules.pop(group, None)
        else:
            rules = read_rules(texts)
            await self._kept.keep(group, [rule.text for rule in rules])
            self._rules[group] = rules
        self._unread.pop(group, None)
        self._changed()
        return self._describe(group)

    async def dry_run(self, reference: str, texts: Sequence[str], limit: int) -> Json:
        """What the rules of a group, or other ones, would bring here now."""
        group, _ = find_group(self._replica, reference)
        rules = self._meant(group, texts)
        tried = await self._tried.dry_run(group, rules, self._is_held_back, self._now_ms(), limit)
        return {**self._describe(group), "rules": [rule.text for rule in rules], **tried}

    def problems(self) -> list[MeshError]:
        """What an operator should do about them."""
        return [self._unread[group] for group in self._replica.groups if group in self._unread]

    async def run(self) -> None:
        """Say when what is wanted may be other than before: time has passed, the clock was set, or a site has another name. Until cancelled."""
        ahead_ms = self._clock_ahead_ms()
        while True:
            self._noted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._noted.wait()
            was_set = abs(self._clock_ahead_ms() - ahead_ms) > CLOCK_SET_MS
            if was_set or self._is_due():
                ahead_ms = self._clock_ahead_ms()
                self._next_ms.clear()
                self._names.clear()
                self._changed()
                await asyncio.sleep(max(LOOK_MIN_S, LOOK_SHARE * self._took_s))

    def _wait_s(self) -> float:
        next_ms = min(self._next_ms.values(), default=None)
        return LOOK_S if next_ms is None else min(LOOK_S, max(0.0, (next_ms - self._now_ms()) / 1000))

    def _is_due(self) -> bool:
        now_ms = self._now_ms()
        renamed = any(names != self._applied.site_names(group) for group, names in self._names.items())
        return renamed or any(next_ms <= now_ms for next_ms in self._next_ms.values())

    def _clock_ahead_ms(self) -> float:
        """Of the clock that only ever goes on."""
        return self._now_ms() - asyncio.get_running_loop().time() * 1000

    def _note_ages(self, group: GroupId, moments: Sequence[int | None]) -> None:
        next_ms = min((moment for moment in moments if moment is not None), default=None)
        if next_ms is not None and next_ms < self._next_ms.get(group, next_ms + 1):
            self._next_ms[group] = next_ms
            self._noted.set()

    def _meant(self, group: GroupId, texts: Sequence[str]) -> Sequence[Rule]:
        if not texts:
            return self.rules(group)
        return read_rules([self._default] if list(texts) == [DEFAULT] else texts)

    def _read(self, group: GroupId, texts: Sequence[str]) -> None:
        try:
            self._rules[group] = read_rules(texts)
        except RuleInvalidError as error:
            text = f"the rules of the group {group.hex()[:8]} cannot be read, so that nothing is fetched by them: {error.text}"
            self._unread[group] = RuleInvalidError(text, fix=f"write them anew: `recmesh policy set {group.hex()[:8]} RULE...`")

    def _describe(self, group: GroupId) -> Json:
        view = self._replica.groups[group]
        return {
            "group_id": group.hex(),
            "group": view.genesis.name,
            "rules": [rule.text for rule in self.rules(group)],
            "is_default": group not in self._rules and group not in self._unread,
        }
