"""What tailscaled answers, read: pure.

Fields that are not known are passed over, fields that are missing or of another type stand for their defaults, so that daemons of other versions are
understood, and those that belong to a Headscale. Shapes: `ipnstate.Status` and `apitype.WhoIsResponse` of the daemon's LocalAPI.
"""

import json
from collections.abc import Mapping

from peer.core.mesh import Caller, MeshNode, MeshStatus
from peer.errors import MeshAnswerInvalidError

PEERS_MAX = 10_000
"""Nodes of a mesh that are looked at."""

LIST_MAX = 64
"""Addresses, tags, capabilities and complaints of one node."""

TEXT_MAX = 512
NEVER = "0001-"
"""What times begin with that are none."""


def read_status(data: bytes) -> MeshStatus:
    """The status in an answer. Raises `MeshAnswerInvalidError` for what is no object in JSON, or has no state in it."""
    document = _read_object(data)
    backend = _text(document, "BackendState")
    if not backend:
        raise MeshAnswerInvalidError(
            "the mesh's daemon does not say how it is", fix="check tailscale.socket in config.toml: is it that of tailscaled?"
        )
    users = {key: _text(value, "LoginName") for key, value in _object(document, "User").items() if isinstance(value, dict)}
    own = _object(document, "Self")
    others = [value for value in _object(document, "Peer").values() if isinstance(value, dict)]
    return MeshStatus(
        backend,
        _text(document, "Version"),
        _text(_object(document, "CurrentTailnet"), "Name"),
        _read_node(own, users) if _text(own, "ID") else None,
        tuple(sorted((_read_node(each, users) for each in others[:PEERS_MAX]), key=lambda node: (node.name, node.node_id))),
        _texts(document, "Health"),
    )


def read_caller(data: bytes) -> Caller:
    """Who speaks from an address, in an answer. Raises `MeshAnswerInvalidError` for what names no machine."""
    document = _read_object(data)
    node = _object(document, "Node")
    if not _text(node, "StableID"):
        raise MeshAnswerInvalidError("the mesh's daemon names no machine", fix="check tailscale.socket in config.toml: is it that of tailscaled?")
    capabilities = (_clean(each) for each in list(_object(document, "CapMap"))[:LIST_MAX])
    return Caller(
        _text(node, "StableID"),
        _text(node, "Name").rstrip("."),
        _text(_object(document, "UserProfile"), "LoginName"),
        _texts(node, "Tags"),
        frozenset(capabilities),
    )


def _read_node(fields: Mapping[str, object], users: Mapping[str, str]) -> MeshNode:
    user = fields.get("UserID")
    return MeshNode(
        _text(fields, "ID"),
        _text(fields, "DNSName").rstrip("."),
        _text(fields, "HostName"),
        _text(fields, "OS"),
        users.get(str(user), "") if isinstance(user, int) else "",
        _texts(fields, "TailscaleIPs"),
        _texts(fields, "Tags"),
        fields.get("Online") is True,
        fields.get("Active") is True,
        _text(fields, "CurAddr"),
        _text(fields, "PeerRelay") or _text(fields, "Relay"),
        fields.get("Expired") is True,
        "" if (expires := _text(fields, "KeyExpiry")).startswith(NEVER) else expires,
    )


def _read_object(data: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MeshAnswerInvalidError("what the mesh's daemon answers is no JSON", fix="check tailscale.socket in config.toml") from error
    if not isinstance(document, dict):
        raise MeshAnswerInvalidError("what the mesh's daemon answers is no object", fix="check tailscale.socket in config.toml")
    return document


def _object(fields: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, object], key: str) -> str:
    value = fields.get(key)
    return _clean(value) if isinstance(value, str) else ""


def _texts(fields: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = fields.get(key)
    return tuple(_clean(each) for each in value[:LIST_MAX] if isinstance(each, str)) if isinstance(value, list) else ()


def _clean(text: str) -> str:
    """One line of what others wrote, fit for a terminal."""
    return "".join(each if each.isprintable() else " " for each in text[:TEXT_MAX])
