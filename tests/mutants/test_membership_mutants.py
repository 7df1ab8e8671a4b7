"""Planted bugs in who hears what, and in who is let in: a test of sessions, or one over real sockets, must catch each."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.errors import MeshError
from peer.operations.joining import Joining
from peer.sync import guests
from peer.sync.backfill import BackfillSide
from peer.sync.guests import GuestRoom, Guests
from peer.sync.handshake import Handshake
from peer.sync.joining import Joins, JoinSide
from peer.sync.offers import OfferSide
from peer.sync.push import PushSide
from peer.sync.session import SyncSession
from peer.sync.speaking import Speaking
from peer.transport.pending import PendingPeers
from tests.integration import test_guests as over_sockets
from tests.integration import test_joining_through_others as joining
from tests.link_lab import Lab
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, puppet
from tests.unit.sync import test_session_counting as counting
from tests.unit.sync import test_session_guests as visiting
from tests.unit.sync import test_session_joining as asking
from tests.unit.sync import test_session_offers as offering


def group() -> SampleGroup:
    return SampleGroup("alice", "bob", "carol", "mallory")


def alone(test: Callable[[SampleGroup], None]) -> Check:
    """A test that needs a group."""
    return lambda _folder: test(group())


def at_bob(test: Callable[[Site, SampleGroup], None]) -> Check:
    """A test that needs Bob, a member."""

    def check(_folder: Path) -> None:
        made = group()
        test(Site("bob", Clock(), made), made)

    return check


def on_a_link(test: Callable[[Site, SampleGroup, LinkEnd], None]) -> Check:
    """A test that needs Bob's end of a link to Mallory."""

    def check(_folder: Path) -> None:
        made = group()
        bob = Site("bob", Clock(), made)
        test(bob, made, puppet("mallory", bob))

    return check


def in_a_lab(test: Callable[..., Awaitable[None]], *arguments: object) -> Check:
    """A test over real sockets."""

    async def check(folder: Path) -> None:
        async with AsyncExitStack() as stack:
            await test(Lab(folder, stack), *arguments)

    return check


# Who hears what


def serve_data_to_a_former_member(patch: pytest.MonkeyPatch) -> None:
    change(patch, Speaking.hears, ("return access is Access.MEMBER and", "return access > Access.STRANGER and"))


def send_the_page_that_was_being_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PushSide, "drop_group", lambda *_arguments, **_options: None)


def tell_a_stranger_the_control_logs(patch: pytest.MonkeyPatch) -> None:
    change(patch, Speaking.hears, ("access > Access.STRANGER", "access >= Access.STRANGER"))


def ask_a_stranger_from_what_is_held(patch: pytest.MonkeyPatch) -> None:
    change(patch, BackfillSide._positions, ("() if self._access(group) is Access.STRANGER else ", ""))


def name_groups_to_strangers(patch: pytest.MonkeyPatch) -> None:
    change(patch, guests.groups_to_name, ("> Access.STRANGER", ">= Access.STRANGER"))


def believe_a_listener_that_knows_too_much(patch: pytest.MonkeyPatch) -> None:
    change(patch, SyncSession._take_proof, ("if proof.groups:", "if False:"))


def offer_groups_to_everybody(patch: pytest.MonkeyPatch) -> None:
    change(patch, Speaking.refused, ("self._access(group) is Access.MEMBER", "self._access(group) is not Access.NONE"))


# Guests


def refuse_whoever_is_not_known(patch: pytest.MonkeyPatch) -> None:
    change(patch, guests.has_business, ("group in replica.groups for group in named", "False for group in named"))


def keep_guests_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Guests, "late", lambda *_arguments: [])


def give_a_guest_more_time_each_time(patch: pytest.MonkeyPatch) -> None:
    change(patch, Guests.late, (" or now_ms - guest.since_ms >= limits.GUEST_MS_MAX", ""))


def have_room_for_all_guests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GuestRoom, "enter", lambda *_arguments: True)


def count_no_bytes_of_guests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Guests, "sent", lambda *_arguments: None)


def remember_the_data_logs_of_guests(patch: pytest.MonkeyPatch) -> None:
    change(patch, BackfillSide._take_entry, ("if is_guest and certificate.kind is LogKind.DATA:", "if False:"))


def let_a_guest_be_the_source(patch: pytest.MonkeyPatch) -> None:
    change(patch, BackfillSide._consider, ("if not is_guest:  #", "if True:  #"))


def tell_nothing_again_to_who_passed_it_over(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Speaking, "told_member", lambda *_arguments: None)


def show_all_who_knock(patch: pytest.MonkeyPatch) -> None:
    change(patch, PendingPeers.knocked, ("of_address[:-PENDING_PER_ADDRESS_MAX]", "of_address[:0]"))


def note_nobody_who_knocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SyncSession, "_knocked", lambda _self: None)


# What counts


def ask_for_what_never_counts(patch: pytest.MonkeyPatch) -> None:
    change(patch, BackfillSide._is_of_use, (" or self._view(group).reach(entry.certificate) == 0", ""))
    change(patch, BackfillSide._update_lacking, ("if reach is not None and tip.height > reach:", "if False:"))


def store_what_lies_beyond_a_cut(patch: pytest.MonkeyPatch) -> None:
    change(patch, BackfillSide.events, ("if reach is not None and run.first.height > reach:", "if False:"))


def take_what_lies_beyond_a_cut_for_bad(patch: pytest.MonkeyPatch) -> None:
    change(patch, BackfillSide.events, ("entry.note_beyond(run)", "entry.bad = True"))


def tell_of_commits_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Speaking, "_tell_changes", lambda *_arguments: None)


def refuse_what_the_store_puts_off(patch: pytest.MonkeyPatch) -> None:
    change(patch, BackfillSide.stored, ("if fact.code in (TooManyLogsError.code, TooManyForksError.code):", "if False:"))


# Joining


def pass_requests_on_for_ever(patch: pytest.MonkeyPatch) -> None:
    change(patch, JoinSide._decided_for_others, ("hops=asked.hops - 1", "hops=asked.hops"))


def ignore_that_no_hops_are_left(patch: pytest.MonkeyPatch) -> None:
    change(patch, JoinSide._decided_for_others, ("asked.hops > 0", "True"), ("asked.hops - 1", "max(0, asked.hops - 1)"))


def take_a_request_by_every_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Joins, "take", lambda *_arguments: True)


def pass_on_what_nobody_signed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("peer.sync.joining.check_join", lambda *_arguments: True)


def take_requests_from_who_is_no_member(patch: pytest.MonkeyPatch) -> None:
    change(patch, JoinSide.requested, ("is not Access.MEMBER", "is Access.NONE"))


def tell_the_joiner_before_the_roster_says_so(patch: pytest.MonkeyPatch) -> None:
    change(patch, JoinSide.looked, ("access_of(self._replica, asked.group, asked.peer) is Access.MEMBER", "True"))


def accept_an_invitation_of_who_is_no_admin_any_more(patch: pytest.MonkeyPatch) -> None:
    change(patch, Joining._check_invitation, (" or view.roster.role(entry.author) < Role.ADMIN:", ":"))


def accept_an_expired_invitation(patch: pytest.MonkeyPatch) -> None:
    change(patch, Joining._check_invitation, ("entry.expires_ms <= now_ms()", "False"))


def decide_without_being_an_admin(patch: pytest.MonkeyPatch) -> None:
    change(patch, Joining._check_invitation, ("view.roster.role(self._peer) < Role.ADMIN", "False"))


def keep_asking_about_a_refused_offer(patch: pytest.MonkeyPatch) -> None:
    change(patch, OfferSide.decided, ("if fact.taken or fact.code is not None:", "if fact.taken:"))


def speak_the_highest_version_of_the_other_side(patch: pytest.MonkeyPatch) -> None:
    change(patch, Handshake.take_hello, ("self.version = max(common)", "self.version = max(hello.versions)"))


def versions(_folder: Path) -> None:
    offering.test_neighbouring_versions_of_the_protocol_agree_on_the_highest_that_both_speak(group(), (1, 2), (1,), 1)


def knocking_over_sockets(_folder: Path) -> None:
    over_sockets.test_the_list_of_who_knocked_is_short_and_one_address_has_few_places_in_it()


def bytes_of_a_guest(_folder: Path) -> None:
    made = group()
    with pytest.MonkeyPatch.context() as patch:
        visiting.test_the_bytes_of_a_guest_are_limited(Site("bob", Clock(), made), made, patch)


MUTANTS = (
    Mutant(serve_data_to_a_former_member, on_a_link(visiting.test_pages_of_data_that_were_being_read_for_a_removed_member_do_not_go_out)),
    Mutant(send_the_page_that_was_being_read, on_a_link(visiting.test_pages_of_data_that_were_being_read_for_a_removed_member_do_not_go_out)),
    Mutant(tell_a_stranger_the_control_logs, at_bob(visiting.test_a_stranger_that_names_the_group_is_told_that_it_is_a_guest_and_nothing_else)),
    Mutant(ask_a_stranger_from_what_is_held, at_bob(visiting.test_what_a_guest_is_asked_for_is_asked_for_from_the_start)),
    Mutant(name_groups_to_strangers, lambda _: visiting.test_a_dialler_names_no_group_to_a_stranger(Site("bob", Clock(), group()))),
    Mutant(believe_a_listener_that_knows_too_much, at_bob(visiting.test_a_listener_that_names_groups_is_no_listener_of_ours)),
    Mutant(offer_groups_to_everybody, lambda _: offering.test_nothing_is_offered_to_who_is_no_member(Site("bob", Clock(), group()))),
    Mutant(refuse_whoever_is_not_known, alone(visiting.test_a_newcomer_shows_the_control_log_that_admits_it_and_gets_everything)),
    Mutant(keep_guests_for_ever, at_bob(visiting.test_a_stranger_that_shows_nothing_is_refused_after_a_while_and_noted)),
    Mutant(give_a_guest_more_time_each_time, at_bob(visiting.test_a_guest_that_brings_something_gets_more_time_but_not_for_ever)),
    Mutant(have_room_for_all_guests, alone(visiting.test_guests_have_a_room_of_limited_size)),
    Mutant(count_no_bytes_of_guests, bytes_of_a_guest),
    Mutant(remember_the_data_logs_of_guests, at_bob(visiting.test_data_logs_that_a_guest_announces_are_passed_over)),
    Mutant(let_a_guest_be_the_source, at_bob(visiting.test_a_guest_does_not_keep_a_member_from_bringing_a_log)),
    Mutant(tell_nothing_again_to_who_passed_it_over, alone(visiting.test_a_newcomer_shows_the_control_log_that_admits_it_and_gets_everything)),
    Mutant(show_all_who_knock, knocking_over_sockets),
    Mutant(note_nobody_who_knocks, at_bob(visiting.test_a_stranger_that_shows_nothing_is_refused_after_a_while_and_noted)),
    Mutant(ask_for_what_never_counts, on_a_link(counting.test_nothing_is_asked_for_of_an_author_of_whom_nothing_counts)),
    Mutant(store_what_lies_beyond_a_cut, alone(counting.test_up_to_a_cut_a_log_is_asked_for_and_what_lies_beyond_is_passed_over)),
    Mutant(take_what_lies_beyond_a_cut_for_bad, alone(counting.test_up_to_a_cut_a_log_is_asked_for_and_what_lies_beyond_is_passed_over)),
    Mutant(tell_of_commits_only, alone(counting.test_what_counts_again_after_a_decision_is_told_without_a_commit)),
    Mutant(refuse_what_the_store_puts_off, on_a_link(counting.test_a_log_that_the_store_puts_off_is_asked_for_when_its_author_has_sealed_others)),
    Mutant(pass_requests_on_for_ever, at_bob(asking.test_a_request_is_passed_on_with_one_hop_less_and_not_back)),
    Mutant(ignore_that_no_hops_are_left, at_bob(asking.test_a_request_without_hops_goes_no_further)),
    Mutant(take_a_request_by_every_way, at_bob(asking.test_a_request_that_comes_by_two_ways_is_taken_once)),
    Mutant(pass_on_what_nobody_signed, at_bob(asking.test_a_request_that_the_invitations_key_did_not_sign_closes_the_link)),
    Mutant(
        take_requests_from_who_is_no_member,
        lambda _: asking.test_a_request_about_a_group_that_the_sender_is_no_member_of_is_passed_over(Site("bob", Clock(), group())),
    ),
    Mutant(tell_the_joiner_before_the_roster_says_so, at_bob(asking.test_the_joiner_is_answered_once_the_roster_has_it)),
    Mutant(accept_an_invitation_of_who_is_no_admin_any_more, in_a_lab(joining.test_an_invitation_of_a_removed_admin, 2)),
    Mutant(accept_an_expired_invitation, in_a_lab(joining.test_an_invitation_that_has_expired_by_the_deciders_clock, 1)),
    Mutant(decide_without_being_an_admin, in_a_lab(joining.test_a_site_joins_through_any_member_and_an_admin_decides, 1), (MeshError,)),
    Mutant(keep_asking_about_a_refused_offer, lambda _: refused_offer()),
    Mutant(speak_the_highest_version_of_the_other_side, versions),
)


def refused_offer() -> None:
    made = group()
    bob = Site("bob", Clock(), made)
    offering.test_an_offer_that_something_stands_against_is_refused_with_the_code(puppet("mallory", bob))


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
