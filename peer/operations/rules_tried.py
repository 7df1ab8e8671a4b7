"""What rules would bring here if they held now: said for each recording, with the rule that decides, and counted in sum."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import BlobStore, Replica, WantedBlob
from peer.core.policy import Rule
from peer.core.views import Views
from peer.operations.json_form import Json
from peer.operations.rules_applied import SHORT_DIGITS, Applied, RulesApplied

Sizes = Mapping[BlobId, int]


class RulesTried:
    """Tries rules, and changes nothing."""

    def __init__(self, replica: Replica, views: Views, blobs: BlobStore, applied: RulesApplied) -> None:
        """`blobs` has what is here already."""
        self._replica = replica
        self._views = views
        self._blobs = blobs
        self._applied = applied

    async def dry_run(self, group: GroupId, rules: Sequence[Rule], is_held_back: Callable[[GroupId, EventId], bool], now_ms: int, limit: int) -> Json:
        """What would travel, and why; of up to `limit` recordings, those that would come first. Bytes that several have are counted once in sum."""
        files = await self._views.wanted_blobs(group)
        here = await asyncio.to_thread(_found, self._blobs, {file.blob for file in files})
        missing = _by_recording(file for file in files if file.blob not in here)
        found = await self._applied.apply(group, rules, {file.recording for file in files}, now_ms)
        held_back = {recording for recording in found if is_held_back(group, recording)}
        coming = {recording for recording, each in found.items() if each.decision.keep and recording not in held_back}
        kept = _by_recording(file for file in files if file.recording in coming)
        names = self._applied.site_names(group)
        shown = [
            {
                "id": recording.hex(),
                "name": each.summary.name,
                "site": each.summary.site.hex(),
                "site_name": names.get(each.summary.site) or each.summary.site.hex()[:SHORT_DIGITS],
                "keep": each.decision.keep,
                "rule": each.decision.number,
                "reason": each.decision.reason,
                "priority": each.decision.priority,
                "held_back": recording in held_back,
                "size_bytes": each.summary.size,
                "travels_bytes": sum(missing.get(recording, {}).values()) if recording in coming else 0,
            }
            for recording, each in sorted(found.items(), key=_in_order(coming & missing.keys()))[:limit]
        ]
        travelling = _together(missing[recording] for recording in coming if recording in missing)
        return {
            "recordings": shown,
            "left_out": len(found) - len(shown),
            "kept": {"recordings": len(coming), "files": len(_together(kept.values())), "bytes": sum(_together(kept.values()).values())},
            "skipped": {"recordings": len(found) - len(coming)},
            "travels": {"recordings": len(coming & missing.keys()), "files": len(travelling), "bytes": sum(travelling.values())},
        }


def _found(blobs: BlobStore, wanted: Iterable[BlobId]) -> set[BlobId]:
    """For a thread."""
    return {blob for blob in wanted if blobs.has(blob)}


def _by_recording(files: Iterable[WantedBlob]) -> dict[EventId, dict[BlobId, int]]:
    """The sizes of their blobs."""
    found: defaultdict[EventId, dict[BlobId, int]] = defaultdict(dict)
    for file in files:
        found[file.recording][file.blob] = file.size
    return dict(found)


def _together(sizes: Iterable[Sizes]) -> Sizes:
    return {blob: size for each in sizes for blob, size in each.items()}


def _in_order(travelling: Iterable[EventId]) -> Callable[[tuple[EventId, Applied]], tuple[bool, bool, int, int, bytes]]:
    """What travels before what does not, the most urgent before the others, then the newest."""
    first = frozenset(travelling)

    def key(item: tuple[EventId, Applied]) -> tuple[bool, bool, int, int, bytes]:
        recording, each = item
        return (recording not in first, not each.decision.keep, -each.decision.priority, -each.summary.created_ns, recording)

    return key
