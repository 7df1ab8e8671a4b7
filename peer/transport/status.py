"""How a link is shown in `status`."""

import time
from collections.abc import Mapping

from peer.core.identity import PeerId
from peer.core.interfaces import DialTarget
from peer.sync.effects import Phase
from peer.sync.session import SyncSession
from peer.transport.connection import Connection, now_ms
from peer.transport.dialling import Dialler
from peer.transport.sightings import Sightings

REFUSALS = frozenset({"not_a_member", "handshake_failed", "version_mismatch", "channel_key_mismatch", "channel_unprotected", "mesh_caller_refused"})
"""Ends that trying again will not change by itself."""


def link_status(
    peer: PeerId, target: DialTarget | None, connection: Connection | None, dialler: Dialler | None, sightings: Sightings
) -> Mapping[str, object]:
    """One entry of `links`, as INTERFACES has it, but for its route; ids in hex, times in Unix ms."""
    session = connection.session if connection else None
    remote = connection.remote if connection else None
    return {
        "peer_id": peer.hex(),
        "name": target.name if target else remote.name if remote else peer.hex()[:8],
        "state": _state(target, connection, dialler),
        "phase": (Phase.HANDSHAKE if session.phase is Phase.CLOSED else session.phase).value if session else "reconnect",
        "carrier": connection.carrier.kind.value if connection else None,
        "address": connection.endpoint if connection else dialler.endpoint if dialler else None,
        "source": target.source if target else "inbound",
        "learned_from": target.learned_from.hex() if target and target.learned_from else None,
        "ttl": target.ttl if target else None,
        "dialled_by_us": session.we_dialled if session else False,
        "missing_events": session.missing_events if session else 0,
        "unsent_events": session.unsent_events if session else 0,
        "missing_bytes": 0,
        "groups": sorted(group.hex() for group in session.shared_groups()) if session else [],
        "backfilled": sorted(group.hex() for group in session.backfilled_groups()) if session else [],
        "rtt_ms": session.liveness.rtt_ms if session else None,
        "last_seen_ms": _wall_ms() if connection else sightings.last_seen_ms(peer),
        "unreachable_since_ms": None if connection or (target and target.paused) else sightings.unreachable_since_ms(peer),
        "next_try_ms": _wall_ms() + dialler.next_try_ms - now_ms() if dialler and dialler.next_try_ms is not None and not connection else None,
        "last_error": refusal_of(session) if session else _failure(dialler),
    }


def refusal_of(session: SyncSession) -> Mapping[str, str] | None:
    """What one side does not take of the other, while the link stands."""
    fix = "upgrade the older of the two sites; if they are equal, run `recmesh verify --deep` at both"
    if session.last_refusal is not None:
        return {"code": session.last_refusal, "text": "some events of this peer are refused here", "fix": fix}
    if session.last_rejection is not None:
        return {"code": session.last_rejection, "text": "this peer refuses some of the events here", "fix": fix}
    return None


def _failure(dialler: Dialler | None) -> Mapping[str, str] | None:
    """Why there is no link."""
    error = dialler.last_error if dialler else None
    return {"code": error.code, "text": error.text, "fix": error.fix} if error else None


def _state(target: DialTarget | None, connection: Connection | None, dialler: Dialler | None) -> str:
    if connection is not None:
        if connection.session.phase is not Phase.PUSH:
            return "receiving" if connection.session.phase is Phase.BACKFILL else "connecting"
        return "receiving" if connection.session.missing_events else "up_to_date"
    if target is not None and target.paused:
        return "paused"
    if dialler is None or dialler.next_try_ms is not None:
        refused = dialler is not None and dialler.last_error is not None and dialler.last_error.code in REFUSALS
        return "refused" if refused else "offline"
    return "connecting"


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
