"""What tailscaled answers, read: pure.

Fields that are not known are passed over, fields that are missing or of another type stand for their defaults, so that daemons of other versions are
understood, and those that belong to a Headscale. Shapes: `ipnstate.Status` and `apitype.WhoIsResponse` of the daemon's LocalAPI.
"""

import json
from collections.abc import Mapping

from peer.core.mesh import Caller, MeshNode, MeshStatus
from peer.errors import MeshAnswerInvalidError
from resolver.json_fields import LIST_MAX, Fields, as_line, line_of, lines_of, object_of, objects_of

NEVER = "0001-"
"""What times begin with that are none."""


def read_status(data: bytes) -> MeshStatus:
    """The status in an answer. Raises `MeshAnswerInvalidError` for what is no object in JSON, or has no state in it."""
    document = _read_object(data)
    backend = line_of(document, "BackendState")
    if not backend:
        raise MeshAnswerInvalidError(
            "the mesh's daemon does not say how it is", fix="check tailscale.socket in config.toml: is it that of tailscaled?"
        )
    users = {key: line_of(value, "LoginName") for key, value in object_of(document, "User").items() if isinstance(value, dict)}
    own = object_of(document, "Self")
    return MeshStatus(
        backend,
        line_of(document, "Version"),
        line_of(object_of(document, "CurrentTailnet"), "Name"),
        _read_node(own, users) if line_of(own, "ID") else None,
        tuple(sorted((_read_node(each, users) for each in objects_of(document, "Peer")), key=lambda node: (node.name, node.node_id))),
        lines_of(document, "Health"),
    )


def read_caller(data: bytes) -> Caller:
    """Who speaks from an address, in an answer. Raises `MeshAnswerInvalidError` for what names no machine."""
    document = _read_object(data)
    node = object_of(document, "Node")
    if not line_of(node, "StableID"):
        raise MeshAnswerInvalidError("the mesh's daemon names no machine", fix="check tailscale.socket in config.toml: is it that of tailscaled?")
    capabilities = (as_line(each) for each in list(object_of(document, "CapMap"))[:LIST_MAX])
    return Caller(
        line_of(node, "StableID"),
        line_of(node, "Name").rstrip("."),
        line_of(object_of(document, "UserProfile"), "LoginName"),
        lines_of(node, "Tags"),
        frozenset(capabilities),
    )


def _read_node(fields: Fields, users: Mapping[str, str]) -> MeshNode:
    user = fields.get("UserID")
    return MeshNode(
        line_of(fields, "ID"),
        line_of(fields, "DNSName").rstrip("."),
        line_of(fields, "HostName"),
        line_of(fields, "OS"),
        users.get(str(user), "") if isinstance(user, int) else "",
        lines_of(fields, "TailscaleIPs"),
        lines_of(fields, "Tags"),
        fields.get("Online") is True,
        fields.get("Active") is True,
        line_of(fields, "CurAddr"),
        line_of(fields, "PeerRelay") or line_of(fields, "Relay"),
        fields.get("Expired") is True,
        "" if (expires := line_of(fields, "KeyExpiry")).startswith(NEVER) else expires,
    )


def _read_object(data: bytes) -> Fields:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MeshAnswerInvalidError("what the mesh's daemon answers is no JSON", fix="check tailscale.socket in config.toml") from error
    if not isinstance(document, dict):
        raise MeshAnswerInvalidError("what the mesh's daemon answers is no object", fix="check tailscale.socket in config.toml")
    return document
