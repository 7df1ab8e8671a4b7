"""Finding recordings: filters, orders, pages, and what people call one of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, get_args

from materializer.fields import is_key
from peer.core.encoding import decode, encode
from peer.core.finding import WILDCARD, WILDCARDS_MAX, Finder, Found, PlaceInOrder, RecordingQuery, RecordingSummary
from peer.core.identity import ID_SIZE, BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobStore, Replica
from peer.core.names import folded
from peer.core.orders import ORDERS, Order, State
from peer.core.views import RecordingView, Views
from peer.errors import NotCanonicalError, NotFoundError, RequestError
from peer.operations.holdings import Held, Holdings
from peer.operations.json_form import Json, to_json
from peer.operations.references import choose, find_group, is_prefix
from peer.operations.rules import IsUnproven, Standing, read_standing

PAGE_MAX = 1000
FILTER_CHARACTERS_MAX = 1024
CURSOR_CHARACTERS_MAX = 4096
SHORT_DIGITS = 8
STATES: Sequence[str] = get_args(State)
assert get_args(Order) == ORDERS


class _Search(NamedTuple):
    """What is looked for."""

    query: RecordingQuery
    state: str | None
    few_copies: bool


class Finding:
    """The recordings of all groups of this peer, to be searched."""

    def __init__(
        self, peer: PeerId, replica: Replica, blobs: BlobStore, finder: Finder, views: Views, is_unproven: IsUnproven = lambda *_: False
    ) -> None:
        """Searches with `finder`; `blobs` has the bytes that are here, `views` what groups ask for and who holds what.

        Those of whom it `is_unproven` are not counted.
        """
        self._is_unproven = is_unproven
        self.peer = peer
        self.replica = replica
        self.blobs = blobs
        self._finder = finder
        self._views = views
        self._holdings = Holdings(peer, blobs, finder)

    async def page(self, filters: Json, limit: int, cursor: str | None) -> Json:
        """Up to `limit` recordings that fit all `filters`, in their order, from where the page with `cursor` as its `next` ended."""
        if not 1 <= limit <= PAGE_MAX:
            raise RequestError(f"limit is 1 to {PAGE_MAX}", fix="correct it")
        search = await self._search(filters)
        after = _read_cursor(cursor, search.query) if cursor is not None else None
        shown: list[tuple[Found, Held]] = []
        while len(shown) <= limit:
            found = await self._finder.find(search.query, after, limit + 1)
            held = await self._holdings.of(search.query.groups, found)
            shown += await self._that_fit(search, [(each, held[each.summary.recording]) for each in found if each.summary.recording in held])
            if len(found) <= limit:
                break
            after = found[-1].place
        more = _write_cursor(shown[limit - 1][0].place, search.query) if len(shown) > limit else None
        page = shown[:limit]
        standing = await self._standing_of({each.summary.recording: each.summary.group for each, _ in page})
        return {"recordings": [self.describe(each.summary, its, standing) for each, its in page], "next": more}

    async def _that_fit(self, search: _Search, found: Sequence[tuple[Found, Held]]) -> list[tuple[Found, Held]]:
        """Those that fit what hangs on where bytes are."""
        if search.state in {"missing", "remote"} or search.few_copies:
            standing = await self._standing_of({each.summary.recording: each.summary.group for each, _ in found})
            if search.few_copies:
                found = [each for each in found if self._has_few(*each, standing)]
            found = [(each, its._replace(state=self.state(each.summary, its, standing))) for each, its in found]
        return [(each, its) for each, its in found if search.state in {None, its.state}]

    def _has_few(self, found: Found, held: Held, standing: Standing) -> bool:
        summary = found.summary
        return summary.finalized and len(self.copies(summary, held, standing)) < standing.rules[summary.group].copies_wanted

    async def _standing_of(self, groups: Mapping[EventId, GroupId]) -> Standing:
        """What is to be known of recordings, given with their groups. Where nobody says what they hold, nobody looks for files."""
        said = frozenset(await self._finder.groups_with_receipts(sorted(set(groups.values()))))
        files = await self._finder.files(sorted(said), [recording for recording, group in groups.items() if group in said])
        return await self.standing({recording: (group, {file.blob for file in files.get(recording, ())}) for recording, group in groups.items()})

    async def standing(self, files: Mapping[EventId, tuple[GroupId, Collection[BlobId]]]) -> Standing:
        """What groups ask of recordings, and who said that they hold all of their blobs."""
        return await read_standing(self._views, self.replica, files, self._is_unproven)

    async def named(self, reference: str, *, deleted: bool = False) -> tuple[GroupId, EventId]:
        """The recording that people mean by a name, an id, or the start of one. A deleted one has no name, unless these are looked for, too."""
        if is_prefix(reference) and len(reference) == 2 * ID_SIZE:
            deleted = True  # Whoever writes the whole id means this one.
        candidates = await self._finder.named(list(self.replica.groups), reference, deleted=deleted)
        hidden = [] if candidates or deleted else await self._finder.named(list(self.replica.groups), reference, deleted=True)
        if any(is_prefix(reference) or folded(name) == folded(reference) for _, _, name in hidden):
            fix = "`recmesh recording list --deleted` has its id, `recmesh recording restore` takes that back"
            raise NotFoundError(f"{reference!r} is deleted", fix=fix)
        return choose(reference, "recording", ((recording, name, (group, recording)) for group, recording, name in candidates))

    def held(self, view: RecordingView) -> Held:
        """How much of a recording is here, and the word for it."""
        return self._holdings.of_view(view)

    def describe(self, summary: RecordingSummary, held: Held, standing: Standing) -> Json:
        """A recording as a list shows it."""
        rules = standing.rules[summary.group]
        times = to_json({"created_ns": summary.created_ns, "start_time_ns": summary.start_ns, "end_time_ns": summary.end_ns})
        assert isinstance(times, dict)
        return {
            "id": summary.recording.hex(),
            "group": summary.group.hex(),
            "group_name": self.replica.groups[summary.group].genesis.name,
            "name": summary.name,
            "site": summary.site.hex(),
            "site_name": self.name(summary.group, summary.site),
            "machine": summary.machine,
            "state": self.state(summary, held, standing),
            "size_bytes": summary.size,
            "chunk_count": summary.chunk_count,
            "message_count": summary.message_count,
            "dropped_message_count": summary.dropped,
            **times,
            "tags": list(summary.tags),
            "title": summary.properties.get("title"),
            "properties": dict(summary.properties),
            "deleted": summary.deleted,
            "manifest_id": None if summary.manifest_id is None else summary.manifest_id.hex(),
            "finalized": summary.finalized,
            "missing_properties": rules.missing(summary.properties),
            "review_count": summary.review_count,
            "review_average": summary.review_average,
            "copies": len(self.copies(summary, held, standing)),
            "copies_wanted": rules.copies_wanted,
            "bytes_here": held.bytes_here,
        }

    def copies(self, summary: RecordingSummary, held: Held, standing: Standing) -> Sequence[PeerId]:
        """Who is known to have all bytes. What we have is seen here, whatever we said."""
        others = [peer for peer in standing.holding(summary.group, summary.recording, summary.site) if peer != self.peer]
        return [*others, self.peer] if held.state == "local" else others

    def state(self, summary: RecordingSummary, held: Held, standing: Standing) -> str:
        """The word for where its bytes are: elsewhere is where somebody is known to have them."""
        if held.state not in {"missing", "remote"}:
            return held.state
        return "remote" if self.copies(summary, held, standing) else "missing"

    def name(self, group: GroupId, peer: PeerId) -> str:
        """What a peer is called in a group."""
        member = self.replica.groups[group].roster.members.get(peer)
        return member.name if member else peer.hex()[:SHORT_DIGITS]

    async def _search(self, filters: Json) -> _Search:
        texts = {key: _text(filters, key) for key in ("machine", "topic", "schema", "text", "site", "state", "group")}
        if texts["topic"] is not None and texts["topic"].count(WILDCARD) > WILDCARDS_MAX:
            raise RequestError(f"a topic has up to {WILDCARDS_MAX} wildcards", fix="leave some out")
        if texts["state"] is not None and texts["state"] not in STATES:
            raise RequestError(f"{texts['state'][:80]!r} is no state", fix=f"write one of {', '.join(STATES)}")
        groups = [find_group(self.replica, texts["group"])[0]] if texts["group"] else list(self.replica.groups)
        order = _order(filters)
        site_names: Mapping[tuple[GroupId, PeerId], str] = {}
        if texts["site"] is not None or order == "site":
            site_names = {(group, site): self.name(group, site) for group, site in await self._finder.sites(groups)}
        site = texts["site"]
        query = RecordingQuery(
            groups,
            filters.get("deleted") == "1",
            None if site is None else [each for each, name in site_names.items() if _is_site(site, each[1], name)],
            texts["machine"],
            _strings(filters, "tag"),
            texts["topic"],
            texts["schema"],
            [_property(each) for each in _strings(filters, "property")],
            texts["text"],
            _time(filters, "since_ns"),
            _time(filters, "until_ns"),
            order,
            filters.get("reverse") == "1",
            site_names,
        )
        return _Search(query, texts["state"], filters.get("few_copies") == "1")


def _is_site(reference: str, site: PeerId, name: str) -> bool:
    return folded(reference) == folded(name) or (is_prefix(reference) and site.hex().startswith(reference))


def _write_cursor(place: PlaceInOrder, query: RecordingQuery) -> str:
    return encode([query.order, query.reverse, place.key, place.recording]).hex()


def _read_cursor(text: str, query: RecordingQuery) -> PlaceInOrder:
    """Where a page ended. Raises `RequestError` for the end of a page in another order, too."""
    wrong = RequestError(
        "this cursor is of no page, or of one in another order", fix="begin again without a cursor, or keep `sort` and `reverse` as they were"
    )
    if len(text) > CURSOR_CHARACTERS_MAX:
        raise wrong
    try:
        fields = decode(bytes.fromhex(text))
    except (ValueError, NotCanonicalError) as error:
        raise wrong from error
    match fields:
        case [query.order, query.reverse, (int() | str()) as key, bytes() as recording] if type(key) is _key_type(query.order) and _fits(key):
            return PlaceInOrder(key, EventId(recording))
    raise wrong


def _key_type(order: Order) -> type:
    return str if order in {"name", "site"} else int


def _fits(key: int | str) -> bool:
    """Whether a database can compare with it."""
    return isinstance(key, str) or -(2**63) <= key < 2**63


def _order(filters: Mapping[str, object]) -> Order:
    text = filters.get("sort") or "created"
    for order in ORDERS:
        if order == text:
            return order
    raise RequestError(f"{str(text)[:80]!r} is nothing to sort by", fix=f"write one of {', '.join(ORDERS)}")


def _text(filters: Mapping[str, object], key: str) -> str | None:
    text = str(filters.get(key) or "")
    if len(text) > FILTER_CHARACTERS_MAX:
        raise RequestError(f"{key} is longer than {FILTER_CHARACTERS_MAX} characters", fix="write less of it")
    return text or None


def _strings(filters: Mapping[str, object], key: str) -> list[str]:
    value = filters.get(key) or []
    assert isinstance(value, list)
    return value


def _property(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not is_key(key):
        raise RequestError(f"{text[:80]!r} is no property", fix="write KEY=VALUE")
    return key, value


def _time(filters: Mapping[str, object], key: str) -> int | None:
    text = filters.get(key)
    if text is None:
        return None
    digits = str(text)
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:  # noqa: PLR2004  (the digits of 64 bits)
        raise RequestError(f"{key} is a time in nanoseconds", fix="write it in decimal digits")
    return int(digits)
