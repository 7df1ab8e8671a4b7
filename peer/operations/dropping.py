"""Dropping the copy of a recording that is here, once enough other sites have proved that they hold theirs, and promised to keep it.

The order is what keeps copies: a round is remembered, then others are asked; the release is in the log before the first byte goes; and meanwhile this
site proves nothing to anybody. A crash in between leaves a copy that counts, perhaps once that is said again, or a release whose bytes go at the next
start.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.custody import Subject, Unproven
from peer.core.dropping import ROUND_SIZE
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import EventStore, WantedBlob
from peer.core.possession import Question, prove
from peer.core.run import Draft
from peer.errors import (
    BytesDamagedError,
    CopyPromisedError,
    DiskFullError,
    LimitExceededError,
    MeshError,
    NoChangeError,
    NotFoundError,
    PromisesLostError,
    RequestError,
    StoreError,
    TooFewCopiesError,
    TransportError,
)
from peer.failpoints import failpoint
from peer.operations.custody import Around, Custody, CustodyParts, piece_count, read_piece
from peer.operations.releasing import release_drafts
from peer.operations.rules import rules_of
from peer.operations.sharing import Sharing
from peer.sync.blob_messages import PossessionWant
from peer.sync.limits import PROOFS_MAX

ROUND_S = 60.0
"""How long others are asked, and a little for each file."""
ROUND_S_PER_FILE = 0.05
ROUND_S_MAX = 600.0
LOST_S = ROUND_S_MAX + 60.0
"""How long nothing is dropped after promises may have been lost: the longest round of another site, and its release."""
FALSE = "possession_false"
"""A proof that is wrong."""
PAUSE_S = 1.0
"""After who is asked said that it was asked too much."""
REVIEW_S = 30.0
"""How often it is looked whether whoever could not prove something still says so."""
SHOWN_MAX = 5
SHORT_DIGITS = 12


class Outcome(NamedTuple):
    """What became of one recording."""

    dropped_bytes: int = 0
    """Or what would have been, where it was only tried: also if too few are known to hold it."""
    shared_bytes: int = 0
    """What stays, because other recordings here have the same files."""
    proven: Sequence[PeerId] = ()
    """Who proved to hold it, or of whom it is said where it was only tried."""
    error: MeshError | None = None


class Dropping:
    """Drops copies."""

    def __init__(self, parts: CustodyParts, custody: Custody, store: EventStore, position: Callable[[], int], around: Around) -> None:
        """Begins with what `load` is given. `position` is that of the last event of the log."""
        self._parts = parts
        self._custody = custody
        self._store = store
        self._position = position
        self._around = around
        self._sharing = Sharing(parts)
        self._held_back: set[Subject] = set()
        self._unproven: dict[tuple[Subject, PeerId], Unproven] = {}
        self._unfinished: dict[Subject, tuple[Sequence[WantedBlob], Sequence[PeerId]]] = {}
        """Released, and the disk did not let go of all of it yet."""
        self._lost_until = 0.0
        self._running: set[asyncio.Task[Outcome]] = set()
        self._lifting: set[asyncio.Task[None]] = set()
        self.dropped: Callable[[GroupId, EventId], Awaitable[None]] = _nobody
        """Is told of each recording whose bytes went, or were to stay after all."""
        self.ended: Callable[[GroupId, EventId], None] = lambda _group, _recording: None
        """Hears of each round that is over, however it went: meanwhile nothing was said of what is here."""
        self.writing = asyncio.Lock()
        """Held while something is read of own receipts and written about them."""

    async def load(self, *, promises_lost: bool) -> None:
        """Take up what is remembered. With `promises_lost` nothing is dropped until all rounds of others that may count on them are over."""
        remembered = await self._parts.memory.all()
        self._held_back = set(remembered.held_back)
        self._unproven = {(each.subject, each.peer): each for each in remembered.unproven}
        if promises_lost:
            self._lost_until = time.monotonic() + LOST_S

    async def resume(self) -> None:
        """Bring to an end what a crash interrupted: where the release is in the log the bytes go, else they stay."""
        for subject in (await self._parts.memory.all()).releases:
            files = await self._parts.views.wanted_blobs(*_one(subject))
            going = await self._unshared(subject, files)
            released = await self._parts.views.released(subject.group, {file.blob for file in going})
            if not (self.is_held_back(*subject) and going and all(self._parts.me in released.get(file.blob, ()) for file in going)):
                await self._lift(subject)
                going = []
            with suppress(DiskFullError):  # A full disk keeps nobody from starting: it is tried again.
                await self._finish(subject, going, [])

    def is_held_back(self, group: GroupId, recording: EventId) -> bool:
        """True if it was dropped here and is not to come back before somebody asks."""
        return Subject(group, recording) in self._held_back

    async def lift(self, group: GroupId, recording: EventId) -> None:
        """Somebody asks for it: it may come back."""
        if self.is_held_back(group, recording):
            await self._lift(Subject(group, recording))

    def arrived(self, group: GroupId, recording: EventId) -> None:
        """Bytes of it came. What is whole again is dropped no more; a file that was on its way when the others went stays alone."""
        if self.is_held_back(group, recording) and not self._custody.is_releasing(Subject(group, recording)):
            lifting = asyncio.create_task(self._lift_if_whole(Subject(group, recording)))
            self._lifting.add(lifting)
            lifting.add_done_callback(self._lifting.discard)

    async def _lift_if_whole(self, subject: Subject) -> None:
        if await self._sharing.is_whole(subject):
            await self._lift(subject)

    async def run(self) -> None:
        """Let go what could not go, and forget whose word was worth nothing once it says something else, or is a member no more; until cancelled."""
        while True:
            await asyncio.sleep(REVIEW_S)
            for subject in list(self._unfinished):
                going, members = self._unfinished.pop(subject)
                await self._finish(subject, going if subject in self._held_back else [], members)
            for each in list(self._unproven.values()):
                if not await self._still_says(each):
                    self._unproven.pop((each.subject, each.peer), None)
                    await self._parts.memory.note_proven(each.subject, each.peer)

    async def _still_says(self, unproven: Unproven) -> bool:
        subject, peer = unproven.subject, unproven.peer
        view = self._parts.replica.groups.get(subject.group)
        if view is None or view.roster.role(peer) is Role.NONE:
            return False
        blobs = {file.blob for file in await self._parts.views.wanted_blobs(*_one(subject))}
        return any(peer in holders for holders in (await self._parts.views.holders(subject.group, blobs)).values())

    @property
    def unproven(self) -> Collection[Unproven]:
        """Who said that it holds what it could not prove."""
        return self._unproven.values()

    def is_unproven(self, group: GroupId, recording: EventId, peer: PeerId) -> bool:
        """True if `peer` could not prove that it holds it, when it was asked last."""
        return (Subject(group, recording), peer) in self._unproven

    async def drop(self, group: GroupId, recordings: Iterable[EventId], *, dry_run: bool = False) -> Mapping[EventId, Outcome]:
        """Drop the bytes of recordings that are here, or find out what would go. What cannot be dropped has the error that says why.

        Raises `StoreError`. What has begun goes on if nobody waits for it any more.
        """
        found: dict[EventId, Outcome] = {}
        for recording in recordings:
            task = asyncio.create_task(self._drop(Subject(group, recording), dry_run=dry_run))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            found[recording] = await asyncio.shield(task)
        return found

    async def close(self) -> None:
        """Wait for what has begun, not longer than a round takes."""
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, *self._lifting, return_exceptions=True)

    async def _drop(self, subject: Subject, *, dry_run: bool) -> Outcome:
        size = shared = 0
        try:
            files, going = await self._look(subject)
            size = sum(file.size for file in going)
            shared = sum(file.size for file in files) - size
            proven = await (self._said_to_hold(subject, files) if dry_run else self._round(subject, files, going))
            return Outcome(size, shared, proven)
        except RequestError as error:
            return Outcome(size if dry_run else 0, shared if dry_run else 0, error=error)

    async def _look(self, subject: Subject) -> tuple[list[WantedBlob], list[WantedBlob]]:
        """The files that are here, and those of them that no other recording here has. Raises `RequestError` for what stands against it."""
        view = await self._parts.views.recording(*subject)
        if view is None:
            raise NotFoundError(f"no recording {subject.recording.hex()} counts here", fix="see `recmesh recording list`")
        if not view.finalized:
            raise RequestError(f"{view.name} is still open", fix="`recmesh recording finalize` it first")
        await self._check_kept(subject)
        if time.monotonic() < self._lost_until:
            left = max(1, round(self._lost_until - time.monotonic()))
            raise PromisesLostError("what was promised to other sites may have been lost with bytes.db", fix=f"try again in {left} s")
        files = [file for file in await self._parts.views.wanted_blobs(*_one(subject)) if self._parts.blobs.has(file.blob)]
        files = list({file.blob: file for file in files}.values())
        if not files:
            raise NoChangeError(f"no bytes of {view.name} are here", fix="nothing is to be dropped")
        going = await self._unshared(subject, files)
        if not going:
            raise NoChangeError(f"other recordings here have all files of {view.name}", fix="drop these, too, or nothing would be gained")
        return files, going

    async def _unshared(self, subject: Subject, files: Sequence[WantedBlob]) -> list[WantedBlob]:
        return [file for file in files if not await self._sharing.is_shared(subject, file.blob, self._held_back)]

    async def _wanted(self, subject: Subject) -> int:
        return max(1, rules_of(await self._parts.views.settings(subject.group)).copies_wanted)

    async def _said_to_hold(self, subject: Subject, files: Sequence[WantedBlob]) -> list[PeerId]:
        """Linked members that say so, enough of them. Raises `TooFewCopiesError`."""
        needed, found = await self._wanted(subject), await self._parts.views.holders(subject.group, {file.blob for file in files})
        saying = set.intersection(*(set(found.get(file.blob, ())) for file in files))
        linked = [peer for peer in self._members(subject.group) if peer in saying and not self.is_unproven(*subject, peer)]
        if len(linked) < needed:
            raise TooFewCopiesError(f"{len(linked)} linked sites say that they hold all of it, and {needed} are needed", fix=_FIX)
        return linked

    def _members(self, group: GroupId) -> list[PeerId]:
        view = self._parts.replica.groups.get(group)
        asked = self._parts.asking.members(group)
        return [peer for peer in asked if peer != self._parts.me and view is not None and view.roster.role(peer) is not Role.NONE]

    async def _round(self, subject: Subject, files: Sequence[WantedBlob], going: Sequence[WantedBlob]) -> list[PeerId]:
        """Ask, release and remove. Raises what stands against it; then nothing has gone."""
        members, needed, round_id = self._members(subject.group), await self._wanted(subject), secrets.token_bytes(ROUND_SIZE)
        await self._begin(subject, round_id, needed)
        try:
            if subject in self._held_back:  # By an earlier release, which says nothing about this round after a crash.
                await self._parts.memory.lift(subject)
            reasons = await self._ask_all(subject, round_id, members, files)
            failpoint("drop.after_proofs")
            async with self.writing:
                drafts = await self._releases(subject.group, going)
                await self._check_kept(subject)
                self._check_enough(subject, needed, reasons)
                self._custody.release(subject)
                await self._store.write(subject.group, LogKind.DATA, drafts)
            await self._hold_back(subject)
        except BaseException:
            await self._gave_up(subject, members)
            raise
        failpoint("drop.after_release")
        await self._finish(subject, going, members)
        return [peer for peer in members if peer not in reasons]

    async def _finish(self, subject: Subject, going: Sequence[WantedBlob], members: Sequence[PeerId]) -> None:
        """Let go what is released. Raises `StoreError`; then it is tried again, as long as nobody asks for it back."""
        try:
            await self._remove(subject, going)
            failpoint("drop.before_end")
            await self._custody.end(subject, members)
        except StoreError:
            self._unfinished[subject] = (going, members)
            raise
        self.ended(*subject)
        await self.dropped(*subject)

    async def _begin(self, subject: Subject, round_id: bytes, needed: int) -> None:
        try:
            await self._custody.begin(subject, round_id, needed)
        except CopyPromisedError as error:
            names = ", ".join(sorted(self._around.name_of(subject.group, each.peer) for each in self._custody.of(subject).promises))
            fix = "try again when that is over; a site that never comes back is to be removed from the group"
            raise CopyPromisedError(f"{names}: drops its own copy, and counts on the one here", fix=fix) from error

    async def _check_kept(self, subject: Subject) -> None:
        stop = await self._around.may_drop(*subject)
        if stop is not None:
            raise stop

    async def _gave_up(self, subject: Subject, members: Iterable[PeerId]) -> None:
        with suppress(MeshError):  # What went wrong first is told; the memory is looked at again at the next start.
            await self._custody.end(subject, members)
            if subject in self._held_back:
                await self._hold_back(subject)
        self.ended(*subject)

    async def _hold_back(self, subject: Subject) -> None:
        """It is not to come back by itself. While a round is remembered this says after a crash that its release is in the log."""
        await self._parts.memory.hold_back(subject, time.time_ns() // 1_000_000)
        self._held_back.add(subject)

    async def _lift(self, subject: Subject) -> None:
        self._held_back.discard(subject)
        await self._parts.memory.lift(subject)

    async def _remove(self, subject: Subject, files: Sequence[WantedBlob]) -> None:
        """Let the bytes go, with their piece lists, but for what another recording has meanwhile. Raises `StoreError`."""
        for file in await self._unshared(subject, files):
            await self._parts.blobs.remove(file.blob)
            failpoint("drop.between_files")
            if not await self._sharing.is_file_elsewhere(subject, file.pieces):
                await self._parts.blobs.remove(file.pieces)

    async def _releases(self, group: GroupId, files: Sequence[WantedBlob]) -> list[Draft]:
        """The events that take back all that this site said of these files."""
        await self._parts.views.reached(self._position())
        receipts = await self._parts.said.receipts_of(group, self._parts.me, {file.blob for file in files})
        return release_drafts({file.blob: receipts.get(file.blob, ()) for file in files})

    # Proofs

    async def _ask_all(self, subject: Subject, round_id: bytes, members: Sequence[PeerId], files: Sequence[WantedBlob]) -> dict[PeerId, str]:
        """Ask all members for proofs of all files. Those that gave them are counted; the others have the code of what stood against it.

        Raises `BytesDamagedError` if the copy here is not what it was: it says nothing about anybody else's.
        """
        reasons: dict[PeerId, str] = {}
        asked = [(file, secrets.randbelow(piece_count(file))) for file in files]
        try:
            async with asyncio.timeout(min(ROUND_S_MAX, ROUND_S + ROUND_S_PER_FILE * len(files))):
                for start in range(0, len(asked), PROOFS_MAX):
                    left = [peer for peer in members if peer not in reasons]
                    batch = asked[start : start + PROOFS_MAX]
                    expected = await self._expected(subject, round_id, left, batch)
                    want = PossessionWant(0, *subject, round_id, tuple((file.blob, piece) for file, piece in batch))
                    codes = await asyncio.gather(*(self._ask_one(peer, want, expected[peer]) for peer in left))
                    reasons.update({peer: code for peer, code in zip(left, codes, strict=True) if code})
        except TimeoutError:
            reasons.update({peer: "timed_out" for peer in members if peer not in reasons})
        for peer in members:
            await self._judge(subject, round_id, peer, reasons.get(peer))
        return reasons

    async def _expected(
        self, subject: Subject, round_id: bytes, peers: Iterable[PeerId], asked: Iterable[tuple[WantedBlob, int]]
    ) -> dict[PeerId, list[bytes]]:
        """What each of `peers` has to answer, from the bytes here."""
        expected: dict[PeerId, list[bytes]] = {peer: [] for peer in peers}
        for file, piece in asked:
            try:
                data = await read_piece(self._parts.blobs, file, piece)
            except NotFoundError as error:
                text = f"piece {piece} of {file.blob.hex()[:SHORT_DIGITS]} is not what it was: the copy here proves nothing about others"
                raise BytesDamagedError(text, fix="`recmesh recording reconcile --restore` repairs it") from error
            for peer, proofs in expected.items():
                proofs.append(prove(Question(*subject, round_id, self._parts.me, peer), file.blob, piece, data))
        return expected

    async def _ask_one(self, peer: PeerId, want: PossessionWant, expected: Sequence[bytes]) -> str:
        """The code of what stands against `peer` being counted, empty if nothing does."""
        while True:
            try:
                proofs = await self._parts.asking.ask(peer, want)
            except TransportError as error:
                if error.code != LimitExceededError.code:
                    return error.code
                await asyncio.sleep(PAUSE_S)
            else:
                return "" if list(proofs) == list(expected) else FALSE

    async def _judge(self, subject: Subject, round_id: bytes, peer: PeerId, code: str | None) -> None:
        """Count `peer`, or remember that its word is worth nothing if it said that it holds it."""
        if code is None:
            self._custody.proved(subject, round_id, peer)
            if self._unproven.pop((subject, peer), None) is not None:
                await self._parts.memory.note_proven(subject, peer)
        elif code in {FALSE, NotFoundError.code}:
            said = await self._parts.views.holders(subject.group, {file.blob for file in await self._parts.views.wanted_blobs(*_one(subject))})
            if code == FALSE or any(peer in each for each in said.values()):
                noted = Unproven(subject, peer, code, time.time_ns() // 1_000_000)
                self._unproven[subject, peer] = noted
                await self._parts.memory.note_unproven(noted)

    def _check_enough(self, subject: Subject, needed: int, reasons: Mapping[PeerId, str]) -> None:
        """Raises `TooFewCopiesError` unless enough of those that are members now have proved it."""
        if self._custody.may_release(subject):
            return
        proven = len([peer for peer in self._members(subject.group) if peer not in reasons])
        shown = [f"{self._around.name_of(subject.group, peer)}: {code}" for peer, code in list(reasons.items())[:SHOWN_MAX]]
        others = f" ({', '.join(shown)})" if shown else ""
        raise TooFewCopiesError(f"{proven} other sites proved that they hold it, and {needed} are needed{others}", fix=_FIX)


_FIX = "wait until more sites have it and are linked, or lower `min_copies` of the group"


async def _nobody(_group: GroupId, _recording: EventId) -> None:
    """Nobody has to know."""


def _one(subject: Subject) -> tuple[GroupId, list[EventId]]:
    return subject.group, [subject.recording]
