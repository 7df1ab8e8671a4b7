"""Of `bytes.db`: the rules that say which bytes this site wants of each group."""

import json
from collections.abc import Mapping, Sequence

from peer.core.identity import GroupId
from peer.store.table import Table


class PolicyStore:
    """What is kept of policies: the texts that people wrote, and whatever a newer version did."""

    def __init__(self, table: Table) -> None:
        """Does nothing yet. `table` has the schema `bytes`."""
        self._table = table

    async def all(self) -> Mapping[GroupId, Sequence[str]]:
        """The rules of each group that has some; none where they cannot be read, which is no policy."""
        rows = await self._table.read(lambda connection: connection.execute("SELECT group_id, rules FROM policies").fetchall())
        return {GroupId(group): _read(rules) for group, rules in rows}

    async def keep(self, group: GroupId, rules: Sequence[str]) -> None:
        """Remember these, durably, instead of others."""
        row = (group, json.dumps(rules))
        await self._table.transaction(lambda connection: connection.execute("INSERT OR REPLACE INTO policies (group_id, rules) VALUES (?, ?)", row))

    async def forget(self, group: GroupId) -> None:
        """Remember none, durably."""
        await self._table.transaction(lambda connection: connection.execute("DELETE FROM policies WHERE group_id = ?", (group,)))


def _read(text: str) -> Sequence[str]:
    try:
        rules = json.loads(text)
    except ValueError:
        return ()
    return rules if isinstance(rules, list) and all(isinstance(each, str) for each in rules) else ()
