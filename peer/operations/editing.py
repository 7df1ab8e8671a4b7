"""What people say about recordings: titles, tags, annotations, reviews; deleting one everywhere, and taking that back.

Rights are looked at before anything is written: what its author may not write is ignored by everybody, so it would only look as if it were done. Each
write replaces all writes of its register that are seen here, so that a conflict ends with the first who looks at it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from materializer.edits import (
    AnnotationAdd,
    AnnotationEdit,
    annotation_add,
    annotation_delete,
    annotation_edit,
    recording_delete,
    recording_restore,
    recording_set,
    recording_tag,
    review_set,
)
from materializer.registers import DELETED, PROPERTY_PREFIX, TAG_PREFIX, annotation_register, edit_register, review_register
from materializer.reviews import LEAST, MOST, TAKEN_BACK, is_value
from materializer.rights import Action, may
from materializer.values import PlainValue
from peer.core.certificate import LogKind
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import EventStore, LaterDrafts, Replica
from peer.core.run import Draft
from peer.core.views import AnnotationView, RecordingView, RegisterView, Views
from peer.errors import ChangedMeanwhileError, MeshError, NoChangeError, NotAllowedError, NotFoundError, RequestError
from peer.operations.json_form import Json
from peer.operations.recordings import Recordings
from peer.operations.references import choose
from peer.operations.registers import MakeDraft, replace_all
from peer.operations.said import describe_annotation, describe_annotations

NO_REVIEW = ("", "none")
CHANGES_MAX = 64
"""Properties or tags that one request changes."""


class _Change(NamedTuple):
    """A register, and what is to be written to it."""

    register: str
    make: MakeDraft


class Editing:
    """Changes what is said about the recordings of all groups."""

    def __init__(  # noqa: PLR0913  (its collaborators)
        self,
        peer: PeerId,
        store: EventStore,
        replica: Replica,
        views: Views,
        recordings: Recordings,
        may_remove: Callable[[RecordingView], Awaitable[MeshError | None]],
        *,
        site: str = "",
    ) -> None:
        """For the site `peer`, which people call `site`. `may_remove` says why a recording may not be deleted, None if it may."""
        self.site = site
        self._peer = peer
        self._store = store
        self._replica = replica
        self._views = views
        self._recordings = recordings
        self._may_remove = may_remove

    async def remove(self, reference: str) -> Json:
        """Delete a recording everywhere. It is hidden at once; its bytes go after a time of grace."""
        view = await self._recordings.find(reference, deleted=True)
        self._check(view, Action.DELETE, "delete", own=view.site == self._peer)
        if view.deleted:
            raise NoChangeError(f"{view.name} is deleted already", fix="see `recmesh recording list --deleted`")
        if (error := await self._may_remove(view)) is not None:
            raise error
        return await self._write(view, [_Change(DELETED, lambda refs: recording_delete(view.recording, refs))])

    async def restore(self, reference: str) -> Json:
        """Take a deletion back."""
        view = await self._recordings.find(reference, deleted=True)
        self._check(view, Action.DELETE, "restore", own=view.site == self._peer)
        if view.deleted_hlc is None:
            raise NoChangeError(f"{view.name} is not deleted", fix="see `recmesh recording list --deleted`")
        return await self._write(view, [_Change(DELETED, lambda refs: recording_restore(view.recording, refs))])

    async def set(self, reference: str, properties: Mapping[str, PlainValue], *, revision: str | None = None) -> Json:
        """Give properties their values; the empty one takes a property away. If `revision` is given, only if the recording has still that one."""
        view = await self._editable(reference, Action.DESCRIBE, "describe")
        if revision is not None and revision != view.revision.hex():
            raise ChangedMeanwhileError(
                f"{view.name} was changed meanwhile", fix="look at it again, then decide whether the change still makes sense"
            )
        _limit(len(properties), "properties")
        return await self._write(view, [_Change(PROPERTY_PREFIX + key, _setting(view.recording, key, value)) for key, value in properties.items()])

    async def tag(self, reference: str, add: Sequence[str], remove: Sequence[str]) -> Json:
        """Set some tags and take others away."""
        view = await self._editable(reference, Action.DESCRIBE, "tag")
        wanted = {**dict.fromkeys(add, True), **dict.fromkeys(remove, False)}
        if len(wanted) != len({*add}) + len({*remove}):
            raise RequestError("a tag cannot be set and taken away at once", fix="name it once")
        _limit(len(wanted), "tags")
        registers = await self._views.registers(view.group, view.recording)
        changes = [
            _Change(TAG_PREFIX + tag, _tagging(view.recording, tag, present=present))
            for tag, present in wanted.items()
            if _needs_write(registers.get(TAG_PREFIX + tag), present=present)
        ]
        return await self._write(view, changes, registers)

    async def annotate(self, reference: str, order: Json) -> Json:
        """Say something about a recording: `label`, and optionally `text`, `start_ns`, `end_ns`, `reply_to`, `person`."""
        view = await self._editable(reference, Action.ANNOTATE, "annotate")
        answered = order.get("reply_to")
        reply_to = None if answered is None else (await self._annotation(str(answered), [view])).annotation
        said = (str(order["label"]), str(order.get("text") or ""), _ns(order, "start_ns"), _ns(order, "end_ns"))
        body = AnnotationAdd(view.recording, *said, reply_to, self.site, str(order.get("person") or ""))
        written = await self._write_drafts(view.group, [annotation_add(body)], [])
        return await self._shown(view, written[0])

    async def annotation(self, reference: str) -> Json:
        """An annotation, by its id or the start of it."""
        annotation, view = await self._noted(reference)
        return await self._shown(view, annotation.annotation)

    async def change_annotation(self, reference: str, order: Json) -> Json:
        """Let an annotation say something else: those of `label`, `text`, `start_ns`, `end_ns` that `order` has; `person` is who wants that."""
        before, view = await self._noted(reference)
        self._check(view, Action.CHANGE_ANNOTATION, "change what somebody else said about", own=before.author == self._peer)
        body = AnnotationEdit(
            view.recording,
            before.annotation,
            before.label if order.get("label") is None else str(order["label"]),
            before.text if order.get("text") is None else str(order["text"]),
            _ns(order, "start_ns") if "start_ns" in order else before.start_ns,
            _ns(order, "end_ns") if "end_ns" in order else before.end_ns,
            self.site,
            str(order.get("person") or ""),
        )
        await self._write(view, [_Change(edit_register(before.annotation), lambda refs: annotation_edit(body, refs))])
        return await self._shown(view, before.annotation)

    async def annotations(self, reference: str) -> list[Json]:
        """What was said about a recording, by time in it, with replies below what they answer."""
        view = await self._recordings.find(reference)
        found = await self._views.annotations(view.group, view.recording)
        return describe_annotations(found, view.reviews, self._recordings.name_of(view.group))

    async def unannotate(self, reference: str) -> Json:
        """Take an annotation back, for good."""
        annotation, view = await self._noted(reference)
        self._check(view, Action.UNANNOTATE, "take back what somebody else said about", own=annotation.author == self._peer)
        register = annotation_register(annotation.annotation)
        return await self._write(view, [_Change(register, lambda refs: annotation_delete(view.recording, annotation.annotation, refs))])

    async def review(self, reference: str, value: int | str, *, person: str = "", annotation: str | None = None) -> Json:
        """Say what a person at this site thinks of a recording, or of an annotation of it: 1 to 5, or the empty text to take it back."""
        view = await self._editable(reference, Action.REVIEW, "review")
        opinion = TAKEN_BACK if value in NO_REVIEW else value
        if opinion != TAKEN_BACK and not is_value(opinion):
            raise RequestError(f"{str(value)[:80]!r} is no review", fix=f"write a whole number from {LEAST} to {MOST}, or `none` to take it back")
        about = None if annotation is None else (await self._annotation(annotation, [view])).annotation
        register = review_register(self._peer, person, about)

        def make(refs: Sequence[EventId]) -> Draft:
            return review_set(view.recording, opinion, refs, site=self.site, person=person, annotation=about)

        return await self._write(view, [_Change(register, make)])

    async def find(self, reference: str) -> RecordingView:
        """The recording that `reference` means."""
        return await self._recordings.find(reference)

    def name_of(self, group: GroupId) -> Callable[[PeerId], str]:
        """What peers are called in a group."""
        return self._recordings.name_of(group)

    async def kept(self, reference: str, verb: str) -> RecordingView:
        """A recording, deleted or not, of which this site may say how it is kept. Raises `NotAllowedError`."""
        view = await self._recordings.find(reference, deleted=True)
        self._check(view, Action.KEEP, verb, own=view.site == self._peer)
        return view

    async def write_register(self, view: RecordingView, register: str, make: MakeDraft) -> Json:
        """Write a register in place of all that is seen of it; what the recording is afterwards."""
        return await self._write(view, [_Change(register, make)])

    async def _editable(self, reference: str, action: Action, verb: str) -> RecordingView:
        view = await self._recordings.find(reference)
        self._check(view, action, verb, own=view.site == self._peer)
        return view

    def _check(self, view: RecordingView, action: Action, verb: str, *, own: bool) -> None:
        group = self._replica.groups[view.group]
        role = group.roster.role(self._peer)
        if not may(action, role, own=own):
            fix = f"ask an admin of {group.genesis.name}: see `recmesh group show {group.genesis.name}`"
            raise NotAllowedError(f"this site is {role.label} in {group.genesis.name} and may not {verb} {view.name}", fix=fix)

    async def _noted(self, reference: str) -> tuple[AnnotationView, RecordingView]:
        """The annotation that an id, or the start of one, means, and its recording."""
        annotation = await self._annotation(reference, await self._views.recordings(list(self._replica.groups)))
        return annotation, await self._recordings.find(annotation.recording.hex())

    async def _shown(self, view: RecordingView, annotation: EventId) -> Json:
        """An annotation of a recording as it is now."""
        found = await self._views.annotations(view.group, view.recording)
        return describe_annotation(
            next(each for each in found if each.annotation == annotation),
            [each for each in view.reviews if each.annotation == annotation],
            self._recordings.name_of(view.group),
        )

    async def _annotation(self, reference: str, views: Sequence[RecordingView]) -> AnnotationView:
        """The annotation of one of these recordings that an id, or the start of one, means."""
        groups = {view.group for view in views}
        here = {view.recording for view in views}
        found = [each for group in groups for each in await self._views.annotations(group) if each.recording in here]
        try:
            return choose(reference, "annotation", ((each.annotation, each.annotation.hex(), each) for each in found))
        except NotFoundError as error:
            raise NotFoundError(error.text, fix="see `recmesh recording annotations REC`") from error

    async def _write(self, view: RecordingView, changes: Sequence[_Change], registers: Mapping[str, RegisterView] | None = None) -> Json:
        """Write registers, each replacing all that is seen of it; what the recording is afterwards."""
        if registers is None:
            registers = await self._views.registers(view.group, view.recording)
        first = list[Draft]()
        for change in changes:
            draft, more = replace_all(registers.get(change.register), change.make)
            if more:  # Drafts that follow name the event before them, so each chain is written by itself.
                await self._write_drafts(view.group, [draft], more)
            else:
                first.append(draft)
        await self._write_drafts(view.group, first, [])
        return await self._recordings.show(view.recording.hex())

    async def _write_drafts(self, group: GroupId, drafts: Sequence[Draft], later: Sequence[LaterDrafts]) -> list[EventId]:
        if not drafts:
            return []
        written = await self._store.write(group, LogKind.DATA, drafts, later)
        await self._views.reached(written[-1].position)
        return [stored.event.id for stored in written]


def _needs_write(register: RegisterView | None, *, present: bool) -> bool:
    """True unless a tag is as it should be and nobody disagrees."""
    return present if register is None else register.value is not present or register.is_conflict


def _setting(recording: EventId, key: str, value: PlainValue) -> Callable[[Sequence[EventId]], Draft]:
    return lambda refs: recording_set(recording, key, value, refs)


def _tagging(recording: EventId, tag: str, *, present: bool) -> Callable[[Sequence[EventId]], Draft]:
    return lambda refs: recording_tag(recording, tag, present=present, replaces=refs)


def _limit(count: int, what: str) -> None:
    if not 1 <= count <= CHANGES_MAX:
        raise RequestError(f"{count} {what}; 1 to {CHANGES_MAX} are changed at once", fix="name some of them")


def _ns(order: Json, key: str) -> int | None:
    text = order.get(key)
    return None if text is None else int(str(text))
