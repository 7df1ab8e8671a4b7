"""Where this site and another one show something else though they hold the same: a bug or damage at one of the two, and what to do about it."""

from collections.abc import Sequence

from peer.core.interfaces import Replica
from peer.operations.deciding import name_of
from peer.operations.json_form import Json
from peer.sync.comparing import Difference

VIEWS_DIFFER = "views_differ"
FIX = "run `recmesh rebuild` at both sites; if it differs again, one of the two has a bug: tell the developers table and row"
ROWS_SHOWN_MAX = 3


def differences_shown(replica: Replica, differences: Sequence[Difference]) -> list[Json]:
    """Each table that differs, with whom and in which rows; ids in hex."""
    found: list[Json] = []
    for group, peer, table, keys in differences:
        view = replica.groups.get(group)
        if view is not None:
            whose = {"peer_id": peer.hex(), "name": name_of(view, peer)}
            found.append({"group_id": group.hex(), "group": view.genesis.name, **whose, "table": table, "rows": [key.hex() for key in keys]})
    return found


def difference_problems(shown: Sequence[Json]) -> list[Json]:
    """The same for `status`."""
    return [{"code": VIEWS_DIFFER, "text": _text(each), "fix": FIX} for each in shown]


def difference_findings(shown: Sequence[Json]) -> list[Json]:
    """The same for `verify`."""
    return [{"code": VIEWS_DIFFER, "what": f"{_text(each)}; {FIX}", "where": f"views.db, group {each['group_id']}"} for each in shown]


def _text(shown: Json) -> str:
    rows = shown["rows"]
    assert isinstance(rows, list)
    which = f"row {', '.join(rows[:ROWS_SHOWN_MAX])}" if rows else "the row is not known yet, or there is none"
    more = f" and {len(rows) - ROWS_SHOWN_MAX} more" if len(rows) > ROWS_SHOWN_MAX else ""
    where = f"{shown['group']} is not the same here as at {shown['name']} ({shown['peer_id']}), which holds the same"
    return f"{where}: table {shown['table']}, {which}{more}"
