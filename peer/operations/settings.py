"""Settings of a group: what its admins agree on for everybody. Each is a register; what was written at the same time stays visible."""

from materializer.edits import group_set
from materializer.values import SettingValue, setting_of_text
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.event import REFS_MAX
from peer.core.identity import PeerId
from peer.core.interfaces import EventStore, GroupView, Replica
from peer.core.views import RegisterView, Views, same
from peer.errors import NoChangeError, NotAllowedError
from peer.operations.deciding import name_of
from peer.operations.json_form import Json
from peer.operations.references import find_group


class Settings:
    """Reads and writes them."""

    def __init__(self, peer: PeerId, store: EventStore, replica: Replica, views: Views) -> None:
        """For the site `peer`."""
        self._peer = peer
        self._store = store
        self._replica = replica
        self._views = views

    async def all(self, reference: str) -> list[Json]:
        """Those of a group that have a value, and those that are in conflict, by key."""
        group, view = find_group(self._replica, reference)
        return [describe(view, each) for each in await self._views.settings(group) if each.value != "" or each.is_conflict]

    async def set(self, reference: str, key: str, value: SettingValue) -> Json:
        """Give a setting a value; the empty text takes it away. Text is read as its key asks for. Replaces all that was written at the same time."""
        value = setting_of_text(key, value) if isinstance(value, str) else value
        group, view = find_group(self._replica, reference)
        if view.roster.role(self._peer) < Role.ADMIN:
            raise NotAllowedError(f"only admins of {view.genesis.name} change its settings", fix="ask one of them: `recmesh group show` lists them")
        held = {each.name: each for each in await self._views.settings(group)}.get(key)
        if held is not None and same(held.value, value) and not held.is_conflict:
            raise NoChangeError(f"{key} is {value!r} already", fix="nothing needs to be done")
        live = [write.event_id for write in held.writes] if held is not None else []
        parts = [live[start : start + REFS_MAX] for start in range(0, len(live), REFS_MAX)] or [[]]
        written = await self._store.write(group, LogKind.DATA, [group_set(key, value, part) for part in parts])
        await self._views.reached(written[-1].position)
        return next(describe(view, each) for each in await self._views.settings(group) if each.name == key)


def describe(view: GroupView, setting: RegisterView) -> Json:
    """One setting, for JSON; of those who wrote at the same time the first one wins."""
    return {
        "key": setting.name,
        "value": setting.value,
        "conflict": setting.is_conflict,
        "values": [
            {"value": write.value, "author": write.author.hex(), "author_name": name_of(view, write.author), "event_id": write.event_id.hex()}
            for write in setting.writes
        ],
    }
