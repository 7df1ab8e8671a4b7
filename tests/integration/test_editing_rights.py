"""Whoever may not write something is told so before it is written: what others would ignore must not look as if it were done."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from materializer.bodies import recording_create
from materializer.edits import AnnotationAdd, annotation_add
from materializer.summaries import Summaries
from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.core.identity import EventId
from peer.errors import NotAllowedError
from peer.operations.adding import Adding
from peer.operations.editing import Editing
from peer.operations.finding import Finding
from peer.operations.recordings import Recordings
from peer.operations.retaining import Retaining
from peer.operations.retention import Retention
from peer.store.directory import DataDirectory
from peer.store.keys import KeyFiles
from tests.histories import create_body
from tests.integration.views_site import ViewsSite, running_views
from tests.samples import SampleLog, genesis

Order = Callable[[Editing, str, str], Awaitable[object]]
OF_WRITERS: tuple[Order, ...] = (
    lambda editing, rec, _: editing.set(rec, {"title": "x"}),
    lambda editing, rec, _: editing.tag(rec, ["x"], []),
    lambda editing, rec, _: editing.annotate(rec, {"label": "x"}),
    lambda editing, rec, _: editing.review(rec, 4),
    lambda editing, rec, note: editing.review(rec, 4, annotation=note),
)
OF_ADMINS: tuple[Order, ...] = (
    lambda editing, _, note: editing.change_annotation(note, {"label": "y"}),
    lambda editing, _, note: editing.unannotate(note),
    lambda editing, rec, _: editing.remove(rec),
    lambda editing, rec, _: editing.restore(rec),
    lambda editing, rec, _: Retaining(editing, cast("Retention", None)).hold(rec, "crash"),
    lambda editing, rec, _: Retaining(editing, cast("Retention", None)).unhold(rec),
    lambda editing, rec, _: Retaining(editing, cast("Retention", None)).retain(rec, "raw", None, "law"),
)


def editing_of(site: ViewsSite) -> Editing:
    """The use cases of this site, without those that read files."""
    me = KeyFiles(DataDirectory(site.directory.root).keys).peer_key().peer_id
    finding = Finding(me, site.store.replica, site.blobs, Summaries(site.database), site.views)
    retention = Retention(site.views, lambda: site.store.position, time.time_ns)
    recordings = Recordings(finding, site.views, cast("Adding", None), cast("Any", None), retention)
    return Editing(me, site.store, site.store.replica, site.views, recordings, retention.may_remove)


@pytest.mark.parametrize("role", [Role.NONE, Role.READER, Role.WRITER, Role.ADMIN])
async def test_what_a_site_may_do_to_the_recording_of_another(tmp_path: Path, role: Role) -> None:
    async with running_views(tmp_path) as site:
        other = genesis("zoe", name="zoes")
        await site.store.create_group(other)
        log, control = SampleLog("zoe", other.group), SampleLog("zoe", other.group, kind=LogKind.CONTROL)
        recording = log.write(recording_create(create_body("run")))
        note = log.write(annotation_add(AnnotationAdd(EventId(recording.last.id), "x", "", None, None, None)))
        me = KeyFiles(DataDirectory(site.directory.root).keys).peer_key().peer_id
        for run in (recording, note):
            await site.store.append(log.certificate, run)
        await site.store.append(control.certificate, control.write(member_set(me, "me", role)))
        await site.materializer.reached(site.store.position)
        editing = editing_of(site)
        done = 0
        for order, least in [*((order, Role.WRITER) for order in OF_WRITERS), *((order, Role.ADMIN) for order in OF_ADMINS)]:
            before = site.store.position
            try:
                await order(editing, recording.last.id.hex(), note.last.id.hex())
            except NotAllowedError as error:
                assert role < least
                assert role.label in error.text  # noqa: PT017  (either is fine)
                assert site.store.position == before
            else:
                assert role >= least
                done += 1
        assert done == {Role.NONE: 0, Role.READER: 0, Role.WRITER: 5, Role.ADMIN: 12}[role]
