"""Peers that hold the same must show the same: what they say of their projections is compared, and where it differs the row is looked for.

Digests are compared only where both have the same basis and the same version of the projections: then unequal ones are a bug, or damage, at one
of the two. Which rows differ is found by asking for the hashes of all rows of a table by the next byte of their keys, and so on, until rows are told
of by whole keys. What differs is told of until equal digests are heard; a peer of another version is not spoken of.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from peer.core.hashing import HASH_SIZE
from peer.core.identity import GroupId, PeerId
from peer.sync import limits
from peer.sync.digests import DigestPart, Digests, DigestWant

ASKED_MAX = 64
"""Parts of which one search asks for."""
FOUND_MAX = 16
"""Rows that one search names."""
PLACES_MAX = 256
"""Parts that one search still has to ask for."""
PART_MS_MAX = 30_000
"""How long it is waited for one part before it is asked for once more: it may have been passed over."""
GONE_MS_MAX = 600_000
"""How long something is told of that differed at a peer to which there is no link any more."""
MODULUS = 2 ** (8 * HASH_SIZE)
NO_ROWS = bytes(HASH_SIZE)

Key = TypeVar("Key", str, bytes)


class Difference(NamedTuple):
    """A table that is another one at a peer which holds the same."""

    group: GroupId
    peer: PeerId
    table: str
    keys: tuple[bytes, ...]
    """Of rows that differ, or that one of both lacks: some of them; none while they are not known."""


class Ask(NamedTuple):
    """What is to be asked of whom."""

    peer: PeerId
    want: DigestWant


@dataclass(slots=True)
class _Search:
    """Looking for the rows that differ from those of one peer."""

    ours: Digests
    theirs: Digests
    places: deque[tuple[str, bytes]]
    waiting: tuple[str, bytes] | None = None
    asked: int = 0
    asked_ms: int = 0
    found: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Rows that were found."""
        return sum(map(len, self.found.values()))


Pair = tuple[GroupId, PeerId]


class Comparing:
    """What this peer knows of how others see what it sees."""

    def __init__(self, is_member: Callable[[GroupId, PeerId], bool]) -> None:
        """Nothing is known yet. Only members of a group are listened to."""
        self._is_member = is_member
        self._ours: dict[GroupId, Digests] = {}
        self._theirs: dict[Pair, Digests] = {}
        self._differ: dict[Pair, dict[str, tuple[bytes, ...]]] = {}
        self._searches: dict[Pair, _Search] = {}
        self._gone: dict[PeerId, int] = {}
        """Since when there is no link to a peer at which something differed."""

    def differences(self) -> list[Difference]:
        """What differs now, as far as it is known."""
        return [
            Difference(group, peer, table, keys)
            for (group, peer), tables in sorted(self._differ.items())
            if self._is_member(group, peer)
            for table, keys in sorted(tables.items())
        ]

    def ours(self, group: GroupId) -> Digests | None:
        """What our tables were last."""
        return self._ours.get(group)

    def tell(self, digests: Digests, now_ms: int) -> list[Ask]:
        """Our tables are this now."""
        if self._ours.get(digests.group) == digests:
            return []
        self._ours[digests.group] = digests
        peers = sorted(peer for group, peer in self._theirs if group == digests.group)
        return [ask for peer in peers for ask in self._compare(digests.group, peer, now_ms)]

    def hear(self, peer: PeerId, digests: Digests, now_ms: int) -> list[Ask]:
        """Theirs are that."""
        if not self._is_member(digests.group, peer):
            return []
        self._theirs[digests.group, peer] = digests
        self._gone.pop(peer, None)
        return self._compare(digests.group, peer, now_ms)

    def is_awaited(self, peer: PeerId, part: DigestPart) -> bool:
        """Whether `part` is what they were asked for last."""
        search = self._searches.get((part.group, peer))
        return search is not None and search.waiting == (part.table, part.prefix) and search.ours.basis == part.basis

    def heard_part(self, peer: PeerId, theirs: DigestPart, ours: DigestPart | None, now_ms: int) -> list[Ask]:
        """They answered; `ours` is the same part here, None if our tables have another basis by now."""
        pair = (theirs.group, peer)
        search = self._searches.get(pair)
        if search is None or not self.is_awaited(peer, theirs):
            return []
        if ours is None:
            del self._searches[pair]
            return []
        _narrow(search, ours, theirs)
        return self._go_on(pair, search, now_ms)

    def unlinked(self, peer: PeerId, now_ms: int) -> None:
        """There is no link to them any more. What differed is told of for a while: a link that comes back says how it is."""
        self._gone[peer] = now_ms
        for pair in [pair for pair in self._theirs if pair[1] == peer]:
            del self._theirs[pair]
            self._searches.pop(pair, None)

    def tidy(self, now_ms: int) -> None:
        """Forget who is no member any more, or was not linked for long, and groups that are gone."""
        late = {peer for peer, since_ms in self._gone.items() if now_ms - since_ms >= GONE_MS_MAX}
        self._gone = {peer: since_ms for peer, since_ms in self._gone.items() if peer not in late}
        for pair in self._theirs.keys() | self._differ.keys() | self._searches.keys():
            if not self._is_member(*pair) or pair[1] in late:
                self._theirs.pop(pair, None)
                self._agreed(pair)

    def _compare(self, group: GroupId, peer: PeerId, now_ms: int) -> list[Ask]:
        pair, ours, theirs = (group, peer), self._ours.get(group), self._theirs[group, peer]
        if ours is not None and ours.version != theirs.version:
            self._agreed(pair)
        if ours is None or (ours.version, ours.basis) != (theirs.version, theirs.basis):
            return []
        differing = _differing(dict(ours.tables), dict(theirs.tables))
        if not differing:
            self._agreed(pair)
            return []
        before = self._differ.get(pair, {})
        self._differ[pair] = {table: before.get(table, ()) for table in differing}
        search = self._searches.get(pair)
        if search is None or (search.ours, search.theirs) != (ours, theirs):
            search = self._searches[pair] = _Search(ours, theirs, deque((table, b"") for table in differing))
        elif search.waiting is None or now_ms - search.asked_ms < PART_MS_MAX:
            return []
        else:
            search.places.appendleft(search.waiting)  # What was found stays: large tables take longer than this, part by part.
        return self._go_on(pair, search, now_ms)

    def _agreed(self, pair: Pair) -> None:
        self._differ.pop(pair, None)
        self._searches.pop(pair, None)

    def _go_on(self, pair: Pair, search: _Search, now_ms: int) -> list[Ask]:
        """What a search asks for next. When it is over, the rows that it found are told of."""
        search.waiting = None
        if search.places and search.asked < ASKED_MAX and search.count < FOUND_MAX:
            table, prefix = search.waiting = search.places.popleft()
            search.asked += 1
            search.asked_ms = now_ms
            return [Ask(pair[1], DigestWant(search.ours.group, search.ours.basis, table, prefix))]
        search.places.clear()
        tables = self._differ.get(pair, {})
        for table in tables:
            tables[table] = tuple(search.found.get(table, ()))
        return []


def part_of(want: DigestWant, rows: Mapping[bytes, int], rows_max: int) -> DigestPart:
    """The answer to `want`, given the sums of the hashes of rows by their keys, all of which begin as wanted."""
    is_rows = len(rows) <= rows_max
    sums = rows if is_rows else _by_next_byte(rows, len(want.prefix))
    entries = tuple((key, _digest(total)) for key, total in sorted(sums.items()))
    return DigestPart(want.group, want.basis, want.table, want.prefix, is_rows, entries)


def _narrow(search: _Search, ours: DigestPart, theirs: DigestPart) -> None:
    """Note the rows that differ, or where to look on."""
    mine, others = dict(ours.entries), dict(theirs.entries)
    if ours.rows and theirs.rows:
        for key in _differing(mine, others):
            if search.count < FOUND_MAX:
                search.found.setdefault(ours.table, []).append(key)
        return
    size = len(ours.prefix)
    if size == limits.DIGEST_KEY_SIZE_MAX:
        return  # No key is longer: somebody lies.
    mine = _digests_by_next_byte(mine, size) if ours.rows else mine
    others = _digests_by_next_byte(others, size) if theirs.rows else others
    nexts = [(ours.table, ours.prefix + key) for key in _differing(mine, others) if key]
    search.places.extendleft(reversed(nexts[: PLACES_MAX - len(search.places)]))


def _differing(ours: Mapping[Key, bytes], theirs: Mapping[Key, bytes]) -> Sequence[Key]:
    return sorted(key for key in ours.keys() | theirs.keys() if ours.get(key, NO_ROWS) != theirs.get(key, NO_ROWS))


def _by_next_byte(sums: Mapping[bytes, int], size: int) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for key, total in sums.items():
        following = key[size : size + 1]
        found[following] = found.get(following, 0) + total
    return found


def _digests_by_next_byte(digests: Mapping[bytes, bytes], size: int) -> dict[bytes, bytes]:
    sums = _by_next_byte({key: int.from_bytes(digest, "big") for key, digest in digests.items()}, size)
    return {key: _digest(total) for key, total in sums.items()}


def _digest(total: int) -> bytes:
    return int(total % MODULUS).to_bytes(HASH_SIZE, "big")
