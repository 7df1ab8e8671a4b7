"""What members say of third ones: of groups that are spoken about, and not without end."""

from peer.core.identity import GroupId
from peer.sync import effects as fx
from peer.sync import limits, messages
from tests.sync_site import LinkEnd, SampleGroup

ENTRIES = ((b"signed", 2),)
UNKNOWN = GroupId(b"g" * 32)


def heard(end: LinkEnd) -> list[fx.Effect]:
    return [effect for effect in end.effects if isinstance(effect, fx.RecordsHeard | fx.SitesHeard)]


def test_what_a_member_says_is_handed_on_as_it_came(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(messages.Records(group.id, ENTRIES))
    end.receive(messages.Sites(group.id, ENTRIES))

    assert heard(end) == [fx.RecordsHeard(group.id, ENTRIES), fx.SitesHeard(group.id, ENTRIES)]


def test_what_is_said_of_a_group_that_is_not_spoken_about_is_passed_over(end: LinkEnd) -> None:
    end.receive(messages.Records(UNKNOWN, ENTRIES))
    end.receive(messages.Sites(UNKNOWN, ENTRIES))

    assert not heard(end)
    assert end.closed is None


def test_a_member_is_told_in_frames_of_a_bounded_size(end: LinkEnd, group: SampleGroup) -> None:
    end.feed(fx.TellRecords(group.id, ENTRIES * (limits.NEIGHBOURS_MAX + 1)))
    end.feed(fx.TellSites(group.id, ENTRIES))

    assert [len(message.entries) for message in end.heard(messages.Records)] == [limits.NEIGHBOURS_MAX, 1]
    assert end.heard(messages.Sites) == [messages.Sites(group.id, ENTRIES)]


def test_nothing_is_told_of_a_group_that_is_not_spoken_about(end: LinkEnd) -> None:
    end.feed(fx.TellRecords(UNKNOWN, ENTRIES))

    assert not end.heard(messages.Records)


def test_more_than_a_link_is_for_is_passed_over(end: LinkEnd, group: SampleGroup) -> None:
    for _ in range(limits.NEIGHBOURS_PER_MINUTE_MAX // limits.NEIGHBOURS_MAX + 10):
        end.receive(messages.Records(group.id, ENTRIES * limits.NEIGHBOURS_MAX))

    assert len(heard(end)) == limits.NEIGHBOURS_PER_MINUTE_MAX // limits.NEIGHBOURS_MAX
    assert end.closed is None


def test_what_says_nothing_counts_as_well(end: LinkEnd, group: SampleGroup) -> None:
    """Each message wakes whoever hears it."""
    for _ in range(limits.NEIGHBOURS_PER_MINUTE_MAX + 10):
        end.receive(messages.Records(group.id, ()))

    assert len(heard(end)) == limits.NEIGHBOURS_PER_MINUTE_MAX
