"""The routes that people script against: each with its tier, in the published description, under its own name.

A route that is served and not here is ours alone, and needs a tier all the same.
"""

import re
from pathlib import Path

from openapi_spec_validator import validate

from peer.api.openapi import TIER_FIELD
from tests.integration.running_peer import running_peer

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
GROUPS, PEERS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/sync/peers", "/api/v1/recordings"

PROMISED = {
    ("get", "/api/v1/recordings/{id}/retention"): VIEWER,
    ("post", "/api/v1/recordings/{id}/retention"): OPERATOR,
    ("get", GROUPS): VIEWER,
    ("post", GROUPS): ADMIN,
    ("post", f"{GROUPS}/join"): ADMIN,
    ("get", f"{GROUPS}/{{id}}"): VIEWER,
    ("delete", f"{GROUPS}/{{id}}"): ADMIN,
    ("get", f"{GROUPS}/{{id}}/invitations"): VIEWER,
    ("post", f"{GROUPS}/{{id}}/invitations"): ADMIN,
    ("delete", f"{GROUPS}/{{id}}/invitations/{{key}}"): ADMIN,
    ("patch", f"{GROUPS}/{{id}}/members/{{peer}}"): ADMIN,
    ("delete", f"{GROUPS}/{{id}}/members/{{peer}}"): ADMIN,
    ("post", f"{GROUPS}/{{id}}/void"): ADMIN,
    ("post", f"{GROUPS}/{{id}}/rotate-log"): ADMIN,
    ("get", f"{GROUPS}/{{id}}/settings"): VIEWER,
    ("patch", f"{GROUPS}/{{id}}/settings"): ADMIN,
    ("post", f"{GROUPS}/{{id}}/resync"): OPERATOR,
    ("get", f"{GROUPS}/{{id}}/events"): VIEWER,
    ("get", PEERS): VIEWER,
    ("post", PEERS): ADMIN,
    ("get", f"{PEERS}/pending"): VIEWER,
    ("post", f"{PEERS}/pending"): ADMIN,
    ("get", f"{PEERS}/{{id}}"): VIEWER,
    ("patch", f"{PEERS}/{{id}}"): OPERATOR,
    ("delete", f"{PEERS}/{{id}}"): ADMIN,
    ("post", f"{PEERS}/{{id}}/test"): OPERATOR,
    ("get", RECORDINGS): VIEWER,
    ("post", RECORDINGS): OPERATOR,
    ("get", f"{RECORDINGS}/{{id}}"): VIEWER,
    ("get", f"{RECORDINGS}/{{id}}/manifest"): VIEWER,
    ("get", "/api/v1/schemas/manifest"): VIEWER,
    ("post", f"{RECORDINGS}/{{id}}/fetch"): OPERATOR,
    ("post", f"{RECORDINGS}/{{id}}/drop"): OPERATOR,
    ("get", f"{RECORDINGS}/{{id}}/chunks/{{index}}"): VIEWER,
    ("get", f"{RECORDINGS}/{{id}}/messages"): VIEWER,
    ("post", f"{RECORDINGS}/{{id}}/export"): ADMIN,
    ("get", f"{RECORDINGS}/{{id}}/rates"): VIEWER,
    ("patch", f"{RECORDINGS}/{{id}}"): OPERATOR,
    ("delete", f"{RECORDINGS}/{{id}}"): OPERATOR,
    ("post", f"{RECORDINGS}/{{id}}/restore"): OPERATOR,
    ("post", f"{RECORDINGS}/{{id}}/reconcile"): OPERATOR,
    ("post", "/api/v1/reconcile"): OPERATOR,
    ("post", f"{RECORDINGS}/{{id}}/tags"): OPERATOR,
    ("get", "/api/v1/annotations/{id}"): VIEWER,
    ("patch", "/api/v1/annotations/{id}"): OPERATOR,
    ("delete", "/api/v1/annotations/{id}"): OPERATOR,
    ("get", "/api/v1/machines"): VIEWER,
    ("get", "/api/v1/machines/{name}"): VIEWER,
    ("patch", "/api/v1/machines/{name}"): OPERATOR,
    ("get", f"{RECORDINGS}/{{id}}/annotations"): VIEWER,
    ("post", f"{RECORDINGS}/{{id}}/annotations"): OPERATOR,
    ("post", f"{RECORDINGS}/{{id}}/reviews"): OPERATOR,
    ("post", f"{RECORDINGS}/{{id}}/chunks"): OPERATOR,
    ("post", f"{RECORDINGS}/{{id}}/finalize"): OPERATOR,
    ("get", "/api/v1/watch"): VIEWER,
    ("post", "/api/v1/watch"): OPERATOR,
    ("delete", "/api/v1/watch"): OPERATOR,
    ("post", "/api/v1/watch/scan"): OPERATOR,
    ("get", "/api/v1/network"): VIEWER,
    ("get", "/api/v1/network/plan"): OPERATOR,
    ("post", "/api/v1/network/apply"): ADMIN,
    ("post", "/api/v1/network/keys"): ADMIN,
    ("get", "/api/v1/policies"): VIEWER,
    ("get", "/api/v1/policies/{id}"): VIEWER,
    ("patch", "/api/v1/policies/{id}"): OPERATOR,
    ("get", "/api/v1/policies/{id}/dry-run"): VIEWER,
    ("post", "/api/v1/policies/{id}/dry-run"): OPERATOR,
    ("get", "/api/v1/transfers"): VIEWER,
    ("post", "/api/v1/transfers/pause"): OPERATOR,
    ("post", "/api/v1/transfers/resume"): OPERATOR,
    ("post", "/api/v1/transfers/cancel"): OPERATOR,
    ("post", "/api/v1/transfers/retry"): OPERATOR,
    ("get", "/api/v1/transfers/limit"): VIEWER,
    ("patch", "/api/v1/transfers/limit"): OPERATOR,
    ("post", "/api/v1/verify"): OPERATOR,
    ("post", "/api/v1/rebuild"): OPERATOR,
    ("post", "/api/v1/backup"): ADMIN,
    ("post", "/api/v1/backup/verify"): ADMIN,
    ("get", "/api/v1/tokens"): ADMIN,
    ("post", "/api/v1/tokens"): ADMIN,
    ("delete", "/api/v1/tokens/{name}"): ADMIN,
    ("get", "/api/v1/hub/keys"): VIEWER,
    ("post", "/api/v1/hub/keys"): ADMIN,
    ("delete", "/api/v1/hub/keys/{id}"): ADMIN,
    ("get", "/api/v1/hub/peers"): VIEWER,
    ("delete", "/api/v1/hub/peers/{id}"): ADMIN,
    ("get", "/api/v1/status"): VIEWER,
    ("get", "/metrics"): VIEWER,
    ("get", "/api/v1/stream"): VIEWER,
    ("get", "/health/live"): "anyone",
    ("get", "/health/ready"): "anyone",
    ("get", "/openapi.json"): VIEWER,
}
"""What people are promised of this version, with the tier that each needs. Names of parameters are free."""


def plain(route: tuple[str, str]) -> tuple[str, str]:
    """A route without the names of its parameters."""
    return route[0], re.sub(r"{[a-z_]+}", "{}", route[1])


async def test_every_promised_route_that_is_served_is_described_with_its_tier(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "data", "alpha") as peer:
        document = await peer.get("/openapi.json")
    validate(document)
    served = {(method, path): operation for path, operations in document["paths"].items() for method, operation in operations.items()}
    tiers = {plain(route): operation[TIER_FIELD] for route, operation in served.items()}

    assert not {route: tiers[plain(route)] for route, tier in PROMISED.items() if tiers.get(plain(route), tier) != tier}
    assert not [route for route in PROMISED if plain(route) not in tiers]
    for (method, path), operation in served.items():
        tier = operation[TIER_FIELD]
        assert tier in ("anyone", VIEWER, OPERATOR, ADMIN), f"{method} {path}"
        assert (operation.get("security") == []) == (tier == "anyone"), f"{method} {path}"
        assert tier in operation["description"] or tier == "anyone", f"{method} {path}"
        assert method == "get" or tier in (OPERATOR, ADMIN), f"{method} {path} changes something: it needs more than a viewer"
        assert operation["summary"]
        assert "default" in operation["responses"]
