"""Recordings: finding, showing them, their manifests and bytes, as far as they are here."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from materializer.fields import is_key
from peer.core.clock import hlc_ms
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import BlobStore, Replica
from peer.core.names import folded
from peer.core.views import AnnotationView, RecordingView, Views
from peer.errors import NotFoundError, RequestError
from peer.operations.adding import Adding, AddRequest
from peer.operations.facts import describe_facts
from peer.operations.json_form import Json, to_json
from peer.operations.references import choose, find_group, is_prefix
from peer.operations.registers import describe_register

PAGE_MAX = 1000
SHORT_DIGITS = 8
COPIES_WANTED = 1
"""Nobody reports copies yet: the one of the site that made it is all that is known of beside our own."""

STATES = ("open", "local", "partial", "remote", "missing", "corrupt")


class Held(NamedTuple):
    """How much of a recording is here."""

    state: str
    bytes_here: int


class Recordings:
    """The recordings of all groups of this peer."""

    def __init__(
        self, peer: PeerId, replica: Replica, blobs: BlobStore, views: Views, adding: Adding, request_bytes: Callable[[GroupId, EventId], None]
    ) -> None:
        """`request_bytes` begins to bring the bytes of a recording here."""
        self._peer = peer
        self._replica = replica
        self._blobs = blobs
        self._views = views
        self._adding = adding
        self._request_bytes = request_bytes

    async def add(self, order: Json) -> EventId:
        """Add a recording: `paths`, and optionally `group`, `name`, `tags`, `machine`, `take`, `operator`, `dropped`, `check`."""
        paths, tags, dropped = order["paths"], order.get("tags") or [], order.get("dropped") or []
        assert isinstance(paths, list)
        assert isinstance(tags, list)
        assert isinstance(dropped, list)
        group, name = order.get("group"), order.get("name")
        request = AddRequest(
            [Path(path) for path in paths],
            None if group is None else str(group),
            None if name is None else str(name),
            tags,
            str(order.get("machine") or ""),
            str(order.get("take") or "copy"),
            str(order.get("operator") or ""),
            dropped,
            check=order.get("check") is True,
            is_open=order.get("open") is True,
        )
        return await self._adding.add(request)

    async def page(self, filters: Json, limit: int, cursor: str | None) -> Json:
        """Up to `limit` recordings that fit all `filters`, newest first, after the one whose id is `cursor`."""
        if not 1 <= limit <= PAGE_MAX:
            raise RequestError(f"limit is 1 to {PAGE_MAX}", fix="correct it")
        fits = _fitting(filters)
        group = filters.get("group")
        groups = [find_group(self._replica, str(group))[0]] if group else list(self._replica.groups)
        found: list[RecordingView] = []
        passed = cursor is None
        for view in await self._views.recordings(groups, deleted=filters.get("deleted") == "1"):
            if passed and fits(view, self._site_name(view), self.held(view).state):
                found.append(view)
                if len(found) > limit:
                    break
            passed = passed or view.recording.hex() == cursor
        shown = found[:limit]
        more = shown[-1].recording.hex() if len(found) > limit else None
        return {"recordings": [self._summary(view) for view in shown], "next": more}

    async def show(self, reference: str) -> Json:
        """One recording with all that belongs to it."""
        return await self._details(await self.find(reference))

    async def fetch(self, reference: str) -> Json:
        """Begin to bring the bytes of a recording here."""
        view = await self.find(reference)
        if view.deleted:
            raise RequestError(f"{view.name} is deleted", fix=f"`recmesh recording restore {view.recording.hex()[:12]}` takes that back")
        self._request_bytes(view.group, view.recording)
        return await self._details(view)

    async def manifest(self, reference: str) -> tuple[bytes, bytes]:
        """The manifest of a recording as CBOR and JSON."""
        view = await self.find(reference)
        manifest = await self._views.manifest(view.group, view.recording)
        if manifest is None:
            raise NotFoundError(f"{view.name} has no manifest yet", fix="wait until it is finalized and all its events are here")
        return manifest

    async def chunk(self, reference: str, index: int) -> tuple[Path, str]:
        """Where the bytes of a chunk are, and their hash in hex."""
        view = await self.find(reference)
        chunk = next((each for each in view.chunks if each.number == index), None)
        if chunk is None:
            raise NotFoundError(f"{view.name} has no chunk {index}", fix=f"it has {len(view.chunks)}, counted from 0")
        if not self._blobs.has(chunk.blob):
            raise NotFoundError(f"chunk {index} of {view.name} is not here", fix=f"`recmesh recording fetch {view.recording.hex()[:12]}` brings it")
        return self._blobs.path(chunk.blob), chunk.blob.hex()

    async def find(self, reference: str, *, deleted: bool = False) -> RecordingView:
        """The recording that `reference` means. A deleted one is meant by its whole id only, unless these are looked for, too."""
        if is_prefix(reference) and len(reference) == 2 * len(self._peer):
            for group in self._replica.groups:
                view = await self._views.recording(group, EventId(bytes.fromhex(reference)))
                if view is not None:
                    return view
        views = await self._views.recordings(list(self._replica.groups), deleted=deleted)
        return choose(reference, "recording", ((view.recording, view.name, view) for view in views))

    def held(self, view: RecordingView) -> Held:
        """How much of a recording is here, and the word for it."""
        here = [self._blobs.has(file.blob) for file in (*view.chunks, *view.attachments)]
        size = sum(chunk.size for chunk, is_here in zip(view.chunks, here, strict=False) if is_here)
        if not view.finalized:
            state = "open"
        elif all(here) and view.manifest_id is not None:
            state = "local"
        elif any(here):
            state = "partial"
        else:
            state = "missing" if view.site == self._peer else "remote"
        return Held(state, size)

    def _summary(self, view: RecordingView) -> Json:
        held = self.held(view)
        copies = self._copies(view, held)
        document = to_json(
            {
                "id": view.recording,
                "group": view.group,
                "group_name": self._replica.groups[view.group].genesis.name,
                "name": view.name,
                "site": view.site,
                "site_name": self._site_name(view),
                "machine": view.machine,
                "state": held.state,
                "size_bytes": sum(chunk.size for chunk in view.chunks),
                "chunk_count": len(view.chunks),
                "message_count": sum(chunk.message_count for chunk in view.chunks),
                "created_ns": view.created_ns,
                "start_time_ns": min((chunk.start_ns for chunk in view.chunks if chunk.start_ns is not None), default=None),
                "end_time_ns": max((chunk.end_ns for chunk in view.chunks if chunk.end_ns is not None), default=None),
                "tags": list(view.tags),
                "title": view.properties.get("title"),
                "properties": dict(view.properties),
                "deleted": view.deleted,
                "manifest_id": view.manifest_id,
                "finalized": view.finalized,
                "copies": len(copies),
                "copies_wanted": COPIES_WANTED,
                "bytes_here": held.bytes_here,
            }
        )
        assert isinstance(document, dict)
        return document

    def describe_annotation(self, view: RecordingView, annotation: AnnotationView) -> Json:
        """An annotation of a recording."""
        document = to_json({**annotation._asdict(), "author_name": self._name(view.group, annotation.author)})
        assert isinstance(document, dict)
        document["id"] = document.pop("annotation")
        document["time_ms"] = hlc_ms(document.pop("hlc"))
        return document

    async def _details(self, view: RecordingView) -> Json:
        annotations = await self._views.annotations(view.group, view.recording)
        return {
            **self._summary(view),
            **describe_facts(view, lambda file: self._blobs.has(file.blob)),
            "replicas": [{"peer_id": peer.hex(), "name": self._name(view.group, peer)} for peer in self._copies(view, self.held(view))],
            "annotations": [self.describe_annotation(view, each) for each in annotations],
            "reviews": [
                {"author": each.author.hex(), "author_name": self._name(view.group, each.author), "value": each.value, "time_ms": hlc_ms(each.hlc)}
                for each in view.reviews
            ],
            "revision": view.revision.hex(),
            "conflicts": [describe_register(each, lambda peer: self._name(view.group, peer)) for each in view.conflicts],
        }

    def _copies(self, view: RecordingView, held: Held) -> Sequence[PeerId]:
        """Who is known to have all bytes: the site that made it, unless that is us and they are gone; and we."""
        others = [view.site] if view.site != self._peer else []
        return [*others, self._peer] if held.state == "local" else others

    def _site_name(self, view: RecordingView) -> str:
        return self._name(view.group, view.site)

    def _name(self, group: GroupId, peer: PeerId) -> str:
        member = self._replica.groups[group].roster.members.get(peer)
        return member.name if member else peer.hex()[:SHORT_DIGITS]


def _fitting(filters: Mapping[str, object]) -> Callable[[RecordingView, str, str], bool]:
    """Whether a recording, with the name of its site and its state, fits all of `filters`."""
    since, until = _time(filters, "since_ns"), _time(filters, "until_ns")
    text, state, site = (str(filters.get(key) or "") for key in ("text", "state", "site"))
    tags = filters.get("tag") or []
    assert isinstance(tags, list)
    properties = [_property(each) for each in _strings(filters.get("property"))]
    if state and state not in STATES:
        raise RequestError(f"{state!r} is no state", fix=f"write one of {', '.join(STATES)}")

    def fits(view: RecordingView, site_name: str, its_state: str) -> bool:
        ends = [chunk.end_ns for chunk in view.chunks if chunk.end_ns is not None]
        starts = [chunk.start_ns for chunk in view.chunks if chunk.start_ns is not None]
        return all(
            (
                not state or state == its_state,
                not site or folded(site) == folded(site_name) or (is_prefix(site) and view.site.hex().startswith(site)),
                not filters.get("machine") or filters["machine"] == view.machine,
                set(tags) <= set(view.tags),
                not filters.get("topic") or any(topic[0] == filters["topic"] for topic in view.topics),
                not filters.get("schema") or any(topic[1] == filters["schema"] for topic in view.topics),
                since is None or max(ends, default=-1) >= since,
                until is None or min(starts, default=until + 1) <= until,
                all(view.properties.get(key) == value for key, value in properties),
                not text or any(text.casefold() in each.casefold() for each in _words(view)),
            )
        )

    return fits


def _strings(value: object) -> list[str]:
    assert value is None or isinstance(value, list)
    return value or []


def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not is_key(key):
        raise RequestError(f"{text[:80]!r} is no property", fix="write KEY=VALUE")
    return key, value


def _words(view: RecordingView) -> Iterable[str]:
    yield view.name
    yield view.machine
    yield from view.tags
    yield from view.properties.values()
    for topic in view.topics:
        yield topic[0]


def _time(filters: Mapping[str, object], key: str) -> int | None:
    text = filters.get(key)
    if text is None:
        return None
    digits = str(text)
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:  # noqa: PLR2004  (the digits of 64 bits)
        raise RequestError(f"{key} is a time in nanoseconds", fix="write it in decimal digits")
    return int(digits)
