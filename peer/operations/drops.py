"""Dropping recordings as people ask for it: by name, one at a time."""

from peer.core.custody import Unproven
from peer.core.identity import GroupId, PeerId
from peer.errors import CopyUnprovenError, MeshError
from peer.operations.dropping import Dropping
from peer.operations.json_form import Json
from peer.operations.recordings import Recordings

SHOWN_MAX = 20
SHORT_DIGITS = 12


class Drops:
    """What people ask of copies here."""

    def __init__(self, dropping: Dropping, recordings: Recordings) -> None:
        """Does nothing yet."""
        self._dropping = dropping
        self._recordings = recordings

    async def drop(self, reference: str, *, dry_run: bool) -> Json:
        """Drop the bytes of a recording, or say what would go. Raises what stands against it."""
        view = await self._recordings.find(reference)
        outcome = (await self._dropping.drop(view.group, [view.recording], dry_run=dry_run))[view.recording]
        if outcome.error is not None:
            raise outcome.error
        name_of = self._recordings.name_of(view.group)
        return {
            **await self._recordings.show(view.recording.hex()),
            "dropped_bytes": outcome.dropped_bytes,
            "shared_bytes": outcome.shared_bytes,
            "proven": [_peer(peer, name_of(peer)) for peer in outcome.proven],
        }

    def problems(self) -> list[MeshError]:
        """Who said that it holds what it could not prove."""
        return [self._problem(each) for each in list(self._dropping.unproven)[:SHOWN_MAX]]

    def _problem(self, unproven: Unproven) -> MeshError:
        name = self._name(unproven.subject.group, unproven.peer)
        recording = unproven.subject.recording.hex()[:SHORT_DIGITS]
        return CopyUnprovenError(
            f"{name} says that it holds the recording {recording}, and could not prove it: {unproven.code}",
            fix=f"its copy is not counted here; its operator may run `recmesh recording reconcile {recording} --restore` there",
        )

    def _name(self, group: GroupId, peer: PeerId) -> str:
        try:
            return self._recordings.name_of(group)(peer)
        except KeyError:
            return peer.hex()[:SHORT_DIGITS]  # The group was left.


def _peer(peer: PeerId, name: str) -> Json:
    return {"peer_id": peer.hex(), "name": name}
