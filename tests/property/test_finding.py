"""Lists are made of summaries. Whatever happened, in whatever order it came, they say what the full views say, filtered and sorted by other code."""

import random
from collections import Counter
from collections.abc import Sequence

from materializer.queries import Projections
from materializer.summaries import find, make_summaries
from peer.core.control import Role
from peer.core.finding import Found, RecordingQuery, summarize
from peer.core.identity import GroupId, PeerId
from peer.core.orders import ORDERS
from peer.core.views import RecordingView
from tests.conftest import LONG
from tests.histories import KEYS, TAGS, VALUES, MemoryViews, NoFollower, random_story, run
from tests.samples import GROUP, key_pair

HISTORIES = 400 if LONG else 30
QUERIES = 4
PEOPLE = ("alice", "bob", "carol", "dave")
NAMES = {(GROUP, key_pair(name).peer_id): name for name in PEOPLE}
DESCENDING = {"created", "start", "end", "size", "messages"}


def site_name(group: GroupId, site: PeerId) -> str:
    return NAMES.get((group, site), site.hex()[:8])


def sort_key(order: str, view: RecordingView) -> object:
    ends = [chunk.end_ns for chunk in view.chunks if chunk.end_ns is not None]
    starts = [chunk.start_ns for chunk in view.chunks if chunk.start_ns is not None]
    return {
        "created": view.created_ns,
        "start": min(starts, default=-1),
        "end": max(ends, default=-1),
        "name": view.name.lower(),
        "size": sum(chunk.size for chunk in view.chunks),
        "messages": sum(chunk.message_count for chunk in view.chunks),
        "site": site_name(view.group, view.site),
    }[order]


def fits(view: RecordingView, query: RecordingQuery) -> bool:
    """By the full view, one condition after the other."""
    ends = [chunk.end_ns for chunk in view.chunks if chunk.end_ns is not None]
    starts = [chunk.start_ns for chunk in view.chunks if chunk.start_ns is not None]
    words = [view.name, view.machine, *view.tags, *map(as_text, view.properties.values()), *(topic[0] for topic in view.topics)]
    topics = [topic[0] for topic in view.topics]
    return (
        (query.deleted or not view.deleted)
        and (query.sites is None or (view.group, view.site) in query.sites)
        and (query.machine is None or query.machine == view.machine)
        and set(query.tags) <= set(view.tags)
        and (query.topic is None or query.topic in topics or (query.topic == "/x*" and any(topic.startswith("/x") for topic in topics)))
        and (query.schema is None or query.schema in [topic[1] for topic in view.topics])
        and all(key in view.properties and as_text(view.properties[key]) == value for key, value in query.properties)
        and (query.text is None or any(query.text.lower() in word.lower() for word in words))
        and (query.since_ns is None or any(end >= query.since_ns for end in ends))
        and (query.until_ns is None or any(start <= query.until_ns for start in starts))
    )


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def random_query(chance: random.Random) -> RecordingQuery:
    """With up to two filters: more would find nothing."""
    query = RecordingQuery([GROUP], deleted=chance.random() < 0.5, order=chance.choice(ORDERS), reverse=chance.random() < 0.5, site_names=NAMES)
    filters = {
        "sites": [[(GROUP, key_pair("alice").peer_id)], [(GROUP, key_pair(name).peer_id) for name in ("bob", "carol")], []],
        "machine": ["robot-1", "robot-2"],
        "tags": [(chance.choice(TAGS),), TAGS[:2]],
        "topic": ["/a", "/x*", "/?", "/b"],
        "schema": ["S", "", "T"],
        "properties": [((chance.choice(KEYS), as_text(chance.choice(VALUES))),)],
        "text": ["RUN", "ug", "two\u00c9", "/a", "zzz"],
        "since_ns": [200, 201, 2**64],
        "until_ns": [100, 99, 2**64],
    }
    chosen = chance.sample(sorted(filters), chance.randrange(3))
    return query._replace(**{name: chance.choice(filters[name]) for name in chosen})  # type: ignore[arg-type, attr-defined]


def slow_list(views: Sequence[RecordingView], query: RecordingQuery) -> list[RecordingView]:
    descending = (query.order in DESCENDING) != query.reverse
    return sorted((view for view in views if fits(view, query)), key=lambda view: (sort_key(query.order, view), view.recording), reverse=descending)


def paged(views: MemoryViews, query: RecordingQuery, size: int) -> list[Found]:
    found: list[Found] = []
    while True:
        page = find(views.connection, query, found[-1].place if found else None, size)
        found += page
        if len(page) < size:
            return found


def check(views: MemoryViews, chance: random.Random, seen: Counter[str]) -> None:
    """All summaries, then random queries, are what the full views say."""
    everything = run(Projections(views, NoFollower()).recordings([GROUP], deleted=True))
    seen["made"] += make_summaries(views.connection, [GROUP], chance.choice([1, 3, 1000]))
    make_summaries(views.connection, [GROUP], 1000)
    all_found = find(views.connection, RecordingQuery([GROUP], deleted=True), None, 1000)
    assert [each.summary for each in all_found] == [summarize(view) for view in everything]
    seen["recordings"] += len(everything)
    for _ in range(QUERIES):
        query = random_query(chance)
        expected = slow_list(everything, query)
        found = paged(views, query, chance.choice([1, 2, 100]))
        assert [each.summary.recording for each in found] == [view.recording for view in expected], query
        seen["found"] += len(found)
        seen["left out"] += len(everything) - len(found)


def check_history(seed: int, seen: Counter[str]) -> None:
    """One history, looked at now and then while it arrives, and after people got other roles."""
    chance = random.Random(seed)
    events = random_story(chance, seen)
    if chance.random() < 0.5:
        chance.shuffle(events)
        seen["shuffled"] += 1
    views = MemoryViews()
    while events:
        size = chance.choice([1, 4, 12])
        views.project(events[:size])
        events = events[size:]
        if chance.random() < 0.4:
            check(views, chance, seen)
    check(views, chance, seen)
    for roles in ({"alice": Role.READER, "bob": Role.ADMIN, "mallory": Role.WRITER}, {"alice": Role.OWNER, "carol": Role.WRITER}):
        seen["judged anew"] += views.judge_people(**roles)
        check(views, chance, seen)


def test_a_list_says_what_the_full_views_say_whatever_happened() -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        check_history(seed, seen)
    print(dict(seen))  # noqa: T201  (what happened, for whoever reads the output)
    minimum = {"shuffled": 0.2, "judged anew": 10, "found": 20, "left out": 20, "deletions": 1, "made": 5}
    assert not {name: seen[name] for name, least in minimum.items() if seen[name] < least * HISTORIES}


def test_every_row_that_belongs_to_a_recording_takes_its_summary_away() -> None:
    """Whoever adds a table of what belongs to recordings has to add its triggers: else lists would go on saying what was."""
    connection = MemoryViews().connection
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    columns = {table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} for table in tables}
    concerned = {table for table, names in columns.items() if names & {"recording_no", "holder"}} - {"summaries", "summary_terms"}
    assert {"recordings", "chunks", "registers", "manifests"} <= concerned
    events = {"INSERT": concerned - {"recordings"}, "UPDATE": concerned, "DELETE": {"recordings", "manifests"}}
    for event, names in events.items():
        for table in names:
            pattern = f"%AFTER {event} ON {table} %DELETE FROM summaries%"  # noqa: S608  (a pattern)
            (count,) = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND sql LIKE ?", (pattern,)).fetchone()
            assert count == 1, f"{event} of {table}"
