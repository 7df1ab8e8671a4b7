"""A page is written where it belongs, or not at all."""

import pytest

from materializer.events import projected_events
from materializer.projector import Projector
from materializer.writing import START, Cursor, EventPage, OutOfStepError, read_cursor, write_page
from tests.histories import MemoryViews, Story
from tests.samples import GROUP

JUDGED = b"one way"


def a_page() -> EventPage:
    """The first page of a log, with one recording."""
    story = Story()
    story.create()
    last = story.events[-1]
    return EventPage(START, Cursor(START.version, last.position, last.event.id), {GROUP: JUDGED}, projected_events(story.events))


def test_a_page_leads_to_its_end() -> None:
    views, page = MemoryViews(), a_page()
    touched = write_page(views.connection, Projector(), page)
    assert touched == {(GROUP, page.events[0].id)}
    assert read_cursor(views.connection) == page.after


def test_a_page_is_not_written_twice() -> None:
    views, page = MemoryViews(), a_page()
    write_page(views.connection, Projector(), page)
    before = views.export()
    with pytest.raises(OutOfStepError):
        write_page(views.connection, Projector(), page)
    assert views.export() == before


def test_a_page_is_not_written_to_rows_that_were_judged_in_another_way() -> None:
    views, page = MemoryViews(), a_page()
    write_page(views.connection, Projector(), page)
    before = views.export()
    following = page._replace(before=page.after, after=page.after._replace(position=page.after.position + 1), digests={GROUP: b"another"})
    with pytest.raises(OutOfStepError):
        write_page(views.connection, Projector(), following)
    assert views.export() == before
