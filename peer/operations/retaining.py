"""Saying what is to be kept: holds, and how long recordings stay. All of it needs a reason."""

from materializer.keeping import DEFAULT_CLASS, PERMANENT, RecordingHold, RecordingRetain, recording_hold, recording_retain
from materializer.registers import HOLD, RETENTION
from peer.core.retention import kept
from peer.errors import NoChangeError, RequestError
from peer.operations.editing import Editing
from peer.operations.json_form import Json
from peer.operations.retention import Retention

NO_CLASS = "default"
"""How people write that a recording is kept as its group says."""


class Retaining:
    """Says what is to be kept."""

    def __init__(self, editing: Editing, retention: Retention) -> None:
        """Writes with `editing`."""
        self._editing = editing
        self._retention = retention

    async def show(self, reference: str) -> Json:
        """What holds a recording, and how long it is to be kept."""
        view = await self._editing.find(reference)
        return await self._retention.describe(view, self._editing.name_of(view.group))

    async def hold(self, reference: str, reason: str, person: str = "") -> Json:
        """Let nothing of a recording go, at any site, until that is lifted."""
        view = await self._editing.kept(reference, "hold")
        if view.hold is not None and view.hold.reason == reason:
            raise NoChangeError(f"{view.name} is held already, for that reason", fix="nothing")
        body = RecordingHold(view.recording, held=True, reason=reason, site=self._editing.site, person=person)
        return await self._editing.write_register(view, HOLD, lambda refs: recording_hold(body, refs))

    async def unhold(self, reference: str, reason: str = "", person: str = "") -> Json:
        """Lift a hold."""
        view = await self._editing.kept(reference, "lift the hold of")
        if view.hold is None:
            raise NoChangeError(f"{view.name} is not held", fix="nothing")
        body = RecordingHold(view.recording, held=False, reason=reason, site=self._editing.site, person=person)
        return await self._editing.write_register(view, HOLD, lambda refs: recording_hold(body, refs))

    async def retain(self, reference: str, retention: str, until_ns: int | None, reason: str, person: str = "") -> Json:
        """Say how long a recording is to be kept. `retention` is a class, or `NO_CLASS` for what the group says."""
        view = await self._editing.kept(reference, "say how long to keep")
        own = view.retention
        retention = DEFAULT_CLASS if retention == NO_CLASS else retention
        if until_ns is not None:
            _check_end(retention, until_ns, self._retention.now_ns())
        if own is not None and own.retention == retention and until_ns is not None:
            standing = kept(view, None)
            if standing is None or standing.until_ns is None or until_ns <= standing.until_ns:
                raise RequestError(f"{view.name} is to be kept for longer already", fix="an extension ends later; another class may end earlier")
        if own is None and retention == DEFAULT_CLASS:
            raise NoChangeError(f"{view.name} is kept as its group says already", fix="nothing")
        body = RecordingRetain(view.recording, retention, until_ns, reason, self._editing.site, person)
        return await self._editing.write_register(view, RETENTION, lambda refs: recording_retain(body, refs))


def _check_end(retention: str, until_ns: int, now_ns: int) -> None:
    if retention in {DEFAULT_CLASS, PERMANENT}:
        raise RequestError(f"{retention or NO_CLASS} has no end", fix="leave the time out, or choose another class")
    if until_ns <= now_ns:
        raise RequestError("this time has passed", fix="name one to come; transient keeps nothing")
