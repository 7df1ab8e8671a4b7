"""Of several wishes for one blob."""

from itertools import pairwise

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.wishes import PRIORITIES, Why, Wish, strongest


def wish(blob: int, why: Why, recording: int = 0, more: int = 0) -> Wish:
    one = bytes([blob]) * 32
    file = WantedBlob(GroupId(one), EventId(bytes([recording]) * 32), BlobId(one), 1, 2**20, BlobId(one), one, PeerId(one))
    return Wish(file, why, PRIORITIES[why] + more, str(recording))


def test_the_most_urgent_wish_for_a_blob_stands_and_of_equal_ones_the_first() -> None:
    kept, asked, later = wish(1, Why.POLICY, 1, 9), wish(1, Why.ASKED, 2), wish(1, Why.ASKED, 3)

    assert strongest([kept, asked, later], lambda _: False) == {asked.file.blob: asked}
    assert strongest([later, asked, kept], lambda _: False) == {asked.file.blob: later}


def test_what_is_here_is_wished_for_no_more() -> None:
    here, away = wish(1, Why.REPAIR), wish(2, Why.POLICY)

    assert strongest([here, away], lambda blob: blob == here.file.blob) == {away.file.blob: away}


def test_no_rule_of_a_policy_goes_before_what_somebody_asked_for() -> None:
    classes = [PRIORITIES[why] for why in (Why.POLICY, Why.COPIES, Why.ASKED, Why.REPAIR)]

    assert all(lower + 9 < higher - 9 for lower, higher in pairwise(classes))
