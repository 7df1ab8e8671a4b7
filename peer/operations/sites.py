"""Sites that are no direct links: how they say they are, and by which way that came here."""

from collections.abc import Callable, Mapping, Sequence

from peer.core.identity import GroupId
from peer.core.interfaces import Replica
from peer.core.names import folded
from peer.core.neighbours import SiteSeen
from peer.operations.json_form import Json

Seen = Callable[[GroupId], Sequence[SiteSeen]]
"""How the other members of a group are, as far as was heard lately."""

_NO_LINK = frozenset({"offline", "connecting"})


def sites_shown(replica: Replica, seen: Seen, now_ms: int) -> list[Json]:
    """Each site of each group that was heard of lately, neighbours among them: by group, name and id."""
    found: list[Json] = []
    for group, view in replica.groups.items():
        members = view.roster.members
        found += [
            {
                "peer_id": each.peer.hex(),
                "name": members[each.peer].name,
                "group_id": group.hex(),
                "group": view.genesis.name,
                "version": each.version,
                "events": each.events,
                "up_to_date": each.is_equal,
                "disk_free_bytes": each.disk_free,
                "disk_total_bytes": each.disk_total,
                "hops": each.hops,
                "via": each.via.hex(),
                "via_name": members[each.via].name if each.via in members else each.via.hex()[:8],
                "last_seen_ms": now_ms - each.age_ms,
            }
            for each in seen(group)
            if each.peer in members
        ]
    return sorted(found, key=lambda each: (folded(str(each["group"])), folded(str(each["name"])), str(each["peer_id"])))


def with_routes(links: Sequence[Json], sites: Sequence[Json], own_events: Mapping[str, int]) -> list[Json]:
    """`links`, and further sites that others tell of: those have the route `relayed`. `own_events` are held here, by group id.

    What stands against a direct link is shown all the same; a link that its operator has paused stays `paused`.
    """
    heard: dict[str, list[Json]] = {}
    for site in sites:
        heard.setdefault(str(site["peer_id"]), []).append(site)
    found = [_relayed(link, heard[str(link["peer_id"])], own_events) if _is_relayed(link, heard) else dict(link) for link in links]
    known = {str(link["peer_id"]) for link in links}
    found += [_relayed(_no_link(each[0]), each, own_events) for peer, each in heard.items() if peer not in known]
    return found


def _is_relayed(link: Json, heard: Mapping[str, object]) -> bool:
    return link["route"] == "none" and str(link["peer_id"]) in heard


def _relayed(link: Json, sites: Sequence[Json], own_events: Mapping[str, int]) -> Json:
    nearest = min(sites, key=lambda site: int(str(site["hops"])))
    missing = sum(max(0, int(str(site["events"])) - own_events.get(str(site["group_id"]), 0)) for site in sites)
    state = "up_to_date" if all(site["up_to_date"] for site in sites) else "receiving"
    return {
        **link,
        "route": "relayed",
        "via": nearest["via"],
        "via_name": nearest["via_name"],
        "hops": nearest["hops"],
        "state": state if link["state"] in _NO_LINK else link["state"],
        "missing_events": missing,
        "last_seen_ms": max(int(str(site["last_seen_ms"])) for site in sites),
        "unreachable_since_ms": None,
    }


def _no_link(site: Json) -> Json:
    return {
        "peer_id": site["peer_id"],
        "name": site["name"],
        "state": "offline",
        "phase": "reconnect",
        "route": "none",
        "node": None,
        "carrier": None,
        "address": None,
        "source": "roster",
        "learned_from": None,
        "ttl": None,
        "dialled_by_us": False,
        "missing_events": 0,
        "unsent_events": 0,
        "missing_bytes": 0,
        "groups": [],
        "backfilled": [],
        "rtt_ms": None,
        "last_seen_ms": None,
        "unreachable_since_ms": None,
        "next_try_ms": None,
        "last_error": None,
    }
