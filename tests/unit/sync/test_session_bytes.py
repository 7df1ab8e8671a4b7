"""Parts of blobs over a link: for members, of what they asked for, and not too many at once."""

from peer.core.identity import BlobId, GroupId
from peer.core.relaying import WantedPart
from peer.sync import effects as fx
from peer.sync import limits, messages
from tests.sync_site import LinkEnd, SampleGroup

BLOB = BlobId(b"b" * 32)


def read_effects(end: LinkEnd) -> list[fx.ReadBlob]:
    return [effect for effect in end.effects if isinstance(effect, fx.ReadBlob)]


def test_a_member_gets_the_part_that_it_asks_for(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(messages.BlobWant(3, group.id, BLOB, 10, 4, relay=False))
    (effect,) = read_effects(end)
    end.feed(fx.BlobSlice(effect, b"data"))

    assert effect == (3, WantedPart(group.id, BLOB, 10, 4, relay=False))
    assert end.heard(messages.BlobPart) == [messages.BlobPart(3, "", b"data")]


def test_what_is_not_to_be_had_in_the_group_is_not_found(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(messages.BlobWant(3, group.id, BLOB, 0, 4, relay=False))
    end.feed(fx.BlobSlice(read_effects(end)[0], None))

    assert end.heard(messages.BlobPart) == [messages.BlobPart(3, "not_found", b"")]


def test_nothing_is_read_for_a_group_that_the_asker_is_no_member_of(end: LinkEnd) -> None:
    """Neither whether there is such a group, nor whether there is such a blob, shows."""
    end.receive(messages.BlobWant(3, GroupId(b"g" * 32), BLOB, 0, 4, relay=False))

    assert not read_effects(end)
    assert end.heard(messages.BlobPart) == [messages.BlobPart(3, "not_a_member", b"")]


def test_too_many_parts_at_once_close_the_link(end: LinkEnd, group: SampleGroup) -> None:
    for number in range(limits.BLOB_READS_MAX):
        end.receive(messages.BlobWant(number, group.id, BLOB, 0, 4, relay=False))
    assert end.closed is None
    end.receive(messages.BlobWant(99, group.id, BLOB, 0, 4, relay=False))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_a_part_that_was_read_makes_room_for_another(end: LinkEnd, group: SampleGroup) -> None:
    for number in range(3 * limits.BLOB_READS_MAX):
        end.receive(messages.BlobWant(number, group.id, BLOB, 0, 4, relay=False))
        end.feed(fx.BlobSlice(read_effects(end)[-1], b"data"))

    assert end.closed is None


def test_bytes_that_nobody_asked_for_are_a_violation(end: LinkEnd) -> None:
    end.receive(messages.BlobPart(1, "", b"data"))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


def test_more_bytes_than_were_asked_for_are_a_violation(end: LinkEnd, group: SampleGroup) -> None:
    end.feed(fx.WantBlob(1, WantedPart(group.id, BLOB, 0, 3, relay=False)))
    end.receive(messages.BlobPart(1, "", b"data"))

    assert end.closed is not None


def test_what_was_wanted_here_is_given_to_who_wanted_it(end: LinkEnd, group: SampleGroup) -> None:
    end.feed(fx.WantBlob(1, WantedPart(group.id, BLOB, 0, 4, relay=False)))
    end.feed(fx.WantBlob(2, WantedPart(group.id, BLOB, 4, 4, relay=False)))
    end.receive(messages.BlobPart(2, "not_found", b""), messages.BlobPart(1, "", b"data"))

    assert end.heard(messages.BlobWant) == [
        messages.BlobWant(1, group.id, BLOB, 0, 4, relay=False),
        messages.BlobWant(2, group.id, BLOB, 4, 4, relay=False),
    ]
    assert [effect for effect in end.effects if isinstance(effect, fx.BlobArrived)] == [(2, "not_found", b""), (1, None, b"data")]


def test_no_more_is_wanted_at_once_than_the_other_side_takes(end: LinkEnd, group: SampleGroup) -> None:
    """Whoever wants more is told at once; a part that comes, asked for by whomever, makes room."""
    for number in range(limits.BLOB_READS_MAX + 1):
        end.feed(fx.WantBlob(number, WantedPart(group.id, BLOB, 0, 4, relay=False)))

    assert len(end.heard(messages.BlobWant)) == limits.BLOB_READS_MAX
    assert [effect for effect in end.effects if isinstance(effect, fx.BlobArrived)] == [(limits.BLOB_READS_MAX, "limit_exceeded", b"")]

    end.receive(messages.BlobPart(0, "", b"data"))
    end.feed(fx.WantBlob(99, WantedPart(group.id, BLOB, 0, 4, relay=False)))

    assert len(end.heard(messages.BlobWant)) == limits.BLOB_READS_MAX + 1
    assert end.closed is None
