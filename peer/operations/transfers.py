"""Bytes on their way here: what of them comes when, how fast, and what people decide about that. Decisions outlast a restart."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from peer.core.bandwidth import Limit, Timetable, read_timetable
from peer.core.identity import ID_SIZE, BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.names import folded
from peer.core.transfers import Hold
from peer.core.wishes import Wish
from peer.errors import AmbiguousError, MeshError, NotFoundError, RequestError, RowsUnreadError
from peer.operations.deciding import name_of
from peer.operations.fetching import Fetching
from peer.operations.json_form import Json
from peer.operations.references import choose, is_prefix

WAITING_SHOWN_MAX = 100
HELD_SHOWN_MAX = 100
LIMIT_SETTING = "limit"
LIMITS_MAX = 256
"""Peers with a limit of their own."""

LIMITS_SHOWN_MAX = 3
LIMIT_SHOWN_MAX = 64

FOREVER_S = 10**9
"""What takes longer has no remaining time."""


class SpeedLimits(Protocol):
    """What holds bytes to limits."""

    @property
    def now(self) -> Limit:
        """What holds now, for all peers together."""
        ...

    def set(self, timetable: Timetable | None, of_peers: Mapping[PeerId, Timetable]) -> None:
        """These limits hold from now on."""
        ...


class Transfers:
    """What is to be fetched, to be looked at and told what to do."""

    def __init__(
        self,
        fetching: Fetching,
        running: Callable[[], Iterable[Json]],
        limits: SpeedLimits,
        naming: tuple[Replica, Callable[[str], Awaitable[tuple[GroupId, EventId]]]],
    ) -> None:
        """`running` tells what is on its way; `naming` what people mean. Limits that this version does not understand hold nothing, and are told."""
        self._fetching = fetching
        self._running = running
        self._limits = limits
        self._replica, self._named = naming
        self._texts: dict[PeerId | None, str] = {}
        """Limits as people wrote them; that of none is for all peers together."""
        self._unread: dict[str, str] = {}
        """Those that are for nobody, by what they are called."""
        for name, text in fetching.settings.items():
            setting, _, digits = name.partition(":")
            if setting == LIMIT_SETTING and (not digits or (len(digits) == 2 * ID_SIZE and is_prefix(digits))):
                self._texts[PeerId(bytes.fromhex(digits)) if digits else None] = text
            elif setting == LIMIT_SETTING:
                self._unread[name] = text
        self._hold()

    # Looking

    def shown(self) -> list[Json]:
        """What is on its way, then some of what waits, then some of what is held back, in the order in which it comes."""
        queue, held = self._fetching.queue, self._fetching.held
        running = {str(each["id"]): each for each in self._running()}
        found = [self._enriched(each) for each in running.values()]
        idle = Hold.PAUSED.value if queue.paused else "waiting"
        found += [_shown(wish, idle) for wish in queue.waiting(WAITING_SHOWN_MAX) if wish.file.blob.hex() not in running]
        still = [(each, queue.wanted[blob]) for blob, each in held.items() if blob in queue.wanted and blob not in queue.running]
        latest = sorted(still, key=lambda pair: -pair[0].since_ms)[:HELD_SHOWN_MAX]
        return [*found, *({**_shown(wish, each.hold.value), "code": each.code, "text": each.text} for each, wish in latest)]

    def limits(self) -> Json:
        """How fast bytes may travel."""
        now = self._limits.now
        peers = sorted((peer, text) for peer, text in self._texts.items() if peer is not None)
        return {
            "limit": self._texts.get(None),
            "up": now.up,
            "down": now.down,
            "peers": [{"peer_id": peer.hex(), "name": self._name(peer), "limit": text} for peer, text in peers],
        }

    def problems(self) -> list[MeshError]:
        """Limits that do not hold, because this version does not understand them."""
        unread = [text for text in self._texts.values() if _read_limit(text) is None]
        shown = ", ".join(repr(text[:LIMIT_SHOWN_MAX]) for text in [*unread, *self._unread.values()][:LIMITS_SHOWN_MAX])
        fix = "set them again with `recmesh transfers limit`"
        return [RowsUnreadError(f"limits of bytes.db are not understood here, and do not hold: {shown}", fix=fix)] if shown else []

    # Deciding

    async def pause(self, reference: str | None) -> Json:
        """Fetch nothing for now, or not these."""
        chosen = await self._chosen(reference)
        if reference is None:
            await self._fetching.pause()
        else:
            await self._fetching.hold(chosen, Hold.PAUSED)
        return self._changed(chosen)

    async def resume(self, reference: str | None) -> Json:
        """Go on with all that is paused, or with these whatever became of them."""
        chosen = await self._chosen(reference)
        held = self._fetching.held
        if reference is None:
            await self._fetching.resume()
            chosen = [wish for wish in chosen if wish.file.blob in held and held[wish.file.blob].hold is Hold.PAUSED]
        await self._fetching.release([wish.file.blob for wish in chosen])
        return self._changed(chosen)

    async def cancel(self, reference: str | None) -> Json:
        """Do not fetch any of what is wanted now, or not these, and delete what came of them so far."""
        chosen = await self._chosen(reference)
        await self._fetching.hold(chosen, Hold.CANCELLED)
        return self._changed(chosen)

    async def retry(self, reference: str | None) -> Json:
        """Try again at once what was given up and what waits, or these whatever became of them."""
        chosen = await self._chosen(reference)
        held = self._fetching.held
        if reference is None:
            chosen = [wish for wish in chosen if wish.file.blob in held and held[wish.file.blob].hold is Hold.GIVEN_UP]
        await self._fetching.release([wish.file.blob for wish in chosen])
        return self._changed(chosen)

    async def limit(self, text: str | None, reference: str | None) -> Json:
        """Let bytes travel no faster than `text` says, to and from all peers together or one; without a text as fast as they can."""
        peer = None if reference is None else self._peer(reference)
        if text is not None:
            try:
                read_timetable(text)
            except ValueError as error:
                raise RequestError(str(error), fix="write 5M, 1M:5M (up:down), off, or a timetable such as '08:00,1M 18:00,off'") from error
            if peer not in self._texts and len(self._texts) >= LIMITS_MAX:
                raise RequestError(f"{LIMITS_MAX} limits are set", fix="take away one that is not needed any more")
        await self._fetching.kept.set(LIMIT_SETTING if peer is None else f"{LIMIT_SETTING}:{peer.hex()}", text)
        if text is None:
            self._texts.pop(peer, None)
        else:
            self._texts[peer] = text
        self._hold()
        return self.limits()

    # What people mean

    async def _chosen(self, reference: str | None) -> Sequence[Wish]:
        """What is wanted and meant by the id of a transfer, or by a recording; all of it without a reference."""
        wishes = list(self._fetching.queue.wanted.values())
        if reference is None:
            return wishes
        if is_prefix(reference):
            found = [wish for wish in wishes if wish.file.blob.hex().startswith(reference)]
            if len(found) > 1:
                raise AmbiguousError(f"{reference!r} fits {len(found)} transfers", fix="write more of the id")
            if found:
                return found
        return await self._chosen_recording(reference, wishes)

    async def _chosen_recording(self, reference: str, wishes: Collection[Wish]) -> Sequence[Wish]:
        _, recording = await self._named(reference)
        found = [wish for wish in wishes if wish.file.recording == recording]
        if not found:
            raise NotFoundError(f"nothing of {reference[:128]!r} is on its way or waited for", fix="see `recmesh transfers`")
        return found

    def _peer(self, reference: str) -> PeerId:
        if is_prefix(reference) and len(reference) == 2 * ID_SIZE:
            return PeerId(bytes.fromhex(reference))
        members = {peer: member.name for view in self._replica.groups.values() for peer, member in view.roster.members.items()}
        return choose(reference, "peer", [(peer, name, peer) for peer, name in members.items()])

    def _name(self, peer: PeerId) -> str:
        views = [view for view in self._replica.groups.values() if peer in view.roster.members]
        return min((name_of(view, peer) for view in views), key=folded, default="")

    def _hold(self) -> None:
        tables = {peer: table for peer, text in self._texts.items() if (table := _read_limit(text)) is not None}
        self._limits.set(tables.get(None), {peer: table for peer, table in tables.items() if peer is not None})

    def _enriched(self, running: Json) -> Json:
        """What runs, with why it does and how long it will."""
        rate, left = running["rate"], _number(running["bytes_total"]) - _number(running["bytes_done"])
        remaining_s = -(-left // _number(rate)) if _number(rate) else FOREVER_S
        wish = self._fetching.queue.wanted.get(_blob(running))
        why = _why(wish) if wish is not None else {"why": "", "reason": "", "priority": 0}
        return {**running, **why, "remaining_s": remaining_s if remaining_s < FOREVER_S else None, "code": "", "text": ""}

    def _changed(self, chosen: Iterable[Wish]) -> Json:
        return {"paused": self._fetching.queue.paused, "transfers": sorted(wish.file.blob.hex() for wish in chosen)}


def _shown(wish: Wish, state: str) -> Json:
    """What does not run."""
    file = wish.file
    return {
        "id": file.blob.hex(),
        "group": file.group.hex(),
        "recording": file.recording.hex(),
        "bytes_done": 0,
        "bytes_total": file.size,
        "rate": 0,
        "from": [],
        "liars": [],
        "state": state,
        **_why(wish),
        "remaining_s": None,
        "code": "",
        "text": "",
    }


def _read_limit(text: str) -> Timetable | None:
    try:
        return read_timetable(text)
    except ValueError:
        return None


def _why(wish: Wish) -> Json:
    return {"why": wish.why.value, "reason": wish.reason, "priority": wish.priority}


def _blob(running: Json) -> BlobId:
    return BlobId(bytes.fromhex(str(running["id"])))


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
