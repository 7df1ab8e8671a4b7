"""Recordings: finding, showing them, their manifests and bytes, as far as they are here."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from materializer.manifest_schema import json_schema
from peer.core.finding import summarize
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.views import RecordingView, Views
from peer.errors import BytesDamagedError, BytesUnreachableError, NotFoundError, RequestError
from peer.operations.adding import Adding, AddRequest
from peer.operations.facts import describe_facts
from peer.operations.finding import Finding
from peer.operations.json_form import Json
from peer.operations.registers import describe_register
from peer.operations.retention import Retention
from peer.operations.said import describe_annotations, describe_reviews


def add_request(order: Json) -> AddRequest:
    """What to add: `paths`, and optionally `group`, `name`, `tags`, `machine`, `take`, `operator`, `dropped`, `check`, `open`."""
    paths, tags, dropped = order["paths"], order.get("tags") or [], order.get("dropped") or []
    assert isinstance(paths, list)
    assert isinstance(tags, list)
    assert isinstance(dropped, list)
    group, name = order.get("group"), order.get("name")
    return AddRequest(
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


class Recordings:
    """The recordings of all groups of this peer."""

    def __init__(
        self, finding: Finding, views: Views, adding: Adding, request_bytes: Callable[[GroupId, EventId], Awaitable[None]], retention: Retention
    ) -> None:
        """`request_bytes` has the bytes of a recording brought here, and returns when that outlasts a restart."""
        self._finding = finding
        self._blobs = finding.blobs
        self._views = views
        self._adding = adding
        self._request_bytes = request_bytes
        self._retention = retention

    async def add(self, order: Json) -> EventId:
        """Add a recording; the members of `order` are those that `add_request` reads."""
        return await self._adding.add(add_request(order))

    async def page(self, filters: Json, limit: int, cursor: str | None) -> Json:
        """Up to `limit` recordings that fit all `filters`, after those of the page that had `cursor` as its `next`."""
        return await self._finding.page(filters, limit, cursor)

    async def show(self, reference: str) -> Json:
        """One recording with all that belongs to it."""
        return await self._details(await self.find(reference))

    async def fetch(self, reference: str) -> Json:
        """Begin to bring the bytes of a recording here."""
        view = await self.find(reference)
        if view.deleted:
            raise RequestError(f"{view.name} is deleted", fix=f"`recmesh recording restore {view.recording.hex()[:12]}` takes that back")
        await self._request_bytes(view.group, view.recording)
        return await self._details(view)

    async def manifest(self, reference: str) -> tuple[bytes, bytes]:
        """The manifest of a recording as CBOR and JSON."""
        view = await self.find(reference)
        manifest = await self._views.manifest(view.group, view.recording)
        if manifest is None:
            raise NotFoundError(f"{view.name} has no manifest yet", fix="wait until it is finalized and all its events are here")
        return manifest

    def manifest_schema(self) -> str:
        """What the JSON of manifests looks like, as JSON Schema."""
        return json_schema()

    async def chunk(self, reference: str, index: int) -> tuple[Path, str]:
        """Where the bytes of a chunk are, and their hash in hex."""
        view = await self.find(reference)
        chunk = next((each for each in view.chunks if each.number == index), None)
        if chunk is None:
            raise NotFoundError(f"{view.name} has no chunk {index}", fix=f"it has {len(view.chunks)}, counted from 0")
        if self._blobs.has(chunk.blob) and not await self._blobs.is_sound(chunk.blob) and not self._blobs.is_damaged(chunk.blob):
            raise BytesUnreachableError(f"chunk {index} of {view.name} is being hashed again: its file was changed", fix="ask again in a moment")
        if self._blobs.is_damaged(chunk.blob):
            fix = f"`recmesh recording reconcile {view.recording.hex()[:12]} --restore` brings it from another site"
            raise BytesDamagedError(f"the bytes of chunk {index} of {view.name} here are not what was recorded", fix=fix)
        if not self._blobs.has(chunk.blob):
            raise NotFoundError(f"chunk {index} of {view.name} is not here", fix=f"`recmesh recording fetch {view.recording.hex()[:12]}` brings it")
        return self._blobs.path(chunk.blob), chunk.blob.hex()

    async def find(self, reference: str, *, deleted: bool = False) -> RecordingView:
        """The recording that `reference` means. A deleted one is meant by its whole id only, unless these are looked for, too."""
        group, recording = await self._finding.named(reference, deleted=deleted)
        view = await self._views.recording(group, recording)
        if view is None:
            raise NotFoundError(f"the recording {recording.hex()} counts no more", fix="see `recmesh recording list`")
        return view

    def name_of(self, group: GroupId) -> Callable[[PeerId], str]:
        """What peers are called in a group."""
        return lambda peer: self._finding.name(group, peer)

    async def _details(self, view: RecordingView) -> Json:
        annotations = await self._views.annotations(view.group, view.recording)
        held, name_of = self._finding.held(view), self.name_of(view.group)
        standing = await self._finding.standing({view.recording: (view.group, {file.blob for file in (*view.chunks, *view.attachments)})})
        copies = self._finding.copies(summarize(view), held, standing)
        return {
            **self._finding.describe(summarize(view), held, standing),
            **describe_facts(view, lambda file: self._blobs.has(file.blob)),
            "replicas": [{"peer_id": peer.hex(), "name": name_of(peer)} for peer in copies],
            "annotations": describe_annotations(annotations, view.reviews, name_of),
            **describe_reviews([each for each in view.reviews if each.annotation is None], name_of),
            **await self._retention.describe(view, name_of),
            "revision": view.revision.hex(),
            "conflicts": [describe_register(each, name_of) for each in view.conflicts],
        }
