from peer.core.identity import GroupId, LogId
from peer.sync.sources import Source, Sources

GROUP = GroupId(b"g" * 32)
LOG, OTHER = LogId(b"l" * 32), LogId(b"m" * 32)


def source(link: int) -> Source:
    return Source(link, is_author=False, progress_ms=0)


def test_a_log_has_the_source_that_was_taken_last() -> None:
    sources = Sources()
    assert sources.get(GROUP, LOG) is None

    sources.take(GROUP, LOG, source(1))
    sources.take(GROUP, LOG, source(2))

    assert sources.get(GROUP, LOG) == source(2)
    assert sources.get(GROUP, OTHER) is None


def test_a_link_learns_once_of_the_logs_that_it_lost() -> None:
    sources = Sources()
    sources.take(GROUP, LOG, source(1))
    sources.take(GROUP, OTHER, source(1))

    sources.take(GROUP, LOG, source(2))

    assert sources.take_lost(1) == [(GROUP, LOG)]
    assert sources.take_lost(1) == []
    assert sources.take_lost(2) == []


def test_a_log_that_came_back_is_not_lost() -> None:
    sources = Sources()
    for link in (1, 2, 1):
        sources.take(GROUP, LOG, source(link))

    assert sources.take_lost(1) == []
    assert sources.take_lost(2) == [(GROUP, LOG)]


def test_what_was_lost_and_then_dropped_by_the_other_is_still_lost() -> None:
    sources = Sources()
    sources.take(GROUP, LOG, source(1))
    sources.take(GROUP, LOG, source(2))
    assert sources.drop_link(2)

    assert sources.take_lost(1) == [(GROUP, LOG)]


def test_only_the_present_source_can_drop_a_log() -> None:
    sources = Sources()
    sources.take(GROUP, LOG, source(1))

    assert not sources.drop(GROUP, LOG, 2)
    assert not sources.drop(GROUP, OTHER, 1)
    assert sources.get(GROUP, LOG) == source(1)
    assert sources.drop(GROUP, LOG, 1)
    assert sources.get(GROUP, LOG) is None


def test_a_link_that_goes_takes_its_logs_along_and_nobody_elses() -> None:
    sources = Sources()
    sources.take(GROUP, LOG, source(1))
    sources.take(GROUP, OTHER, source(2))

    assert sources.drop_link(1)
    assert not sources.drop_link(1)
    assert sources.get(GROUP, LOG) is None
    assert sources.get(GROUP, OTHER) == source(2)


def test_taking_a_log_back_and_forth_leaves_nothing_behind_without_end() -> None:
    """A link that is slow to ask what it lost is told once of each log."""
    sources = Sources()
    for number in range(10_000):
        sources.take(GROUP, LOG, source(number % 2))

    assert sum(len(lost) for lost in sources._lost.values()) <= 2
