"""Of `bytes.db`: the rules that say which bytes this site wants of each group."""

import json
from collections.abc import Mapping, Sequence

from peer.core.identity import GroupId
from peer.store.table import Table
from peer.store.unread import UnreadRows, read_id


class PolicyStore:
    """What is kept of policies: the texts that people wrote, and whatever a newer version did."""

    def __init__(self, table: Table, unread: UnreadRows) -> None:
        """Does nothing yet. `table` has the schema `bytes`; `unread` takes note of what in it cannot be read."""
        self._table = table
        self._unread = unread

    async def all(self) -> Mapping[GroupId, Sequence[str]]:
        """The rules of each group that has some; none where they cannot be read, which is no policy."""
        sql = "SELECT group_id, CAST(rules AS BLOB) FROM policies"
        rows = await self._table.read(lambda connection: connection.execute(sql).fetchall())
        return dict(self._unread.read("policies", rows, lambda group, rules: (GroupId(read_id(group)), _read(rules))))

    async def keep(self, group: GroupId, rules: Sequence[str]) -> None:
        """Remember these, durably, instead of others."""
        row = (group, json.dumps(rules))
        await self._table.transaction(lambda connection: connection.execute("INSERT OR REPLACE INTO policies (group_id, rules) VALUES (?, ?)", row))

    async def forget(self, group: GroupId) -> None:
        """Remember none, durably."""
        await self._table.transaction(lambda connection: connection.execute("DELETE FROM policies WHERE group_id = ?", (group,)))


def _read(text: bytes) -> Sequence[str]:
    try:
        rules = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    return rules if isinstance(rules, list) and all(isinstance(each, str) for each in rules) else ()
