"""Which groups are spoken about on one link, and on which terms: with a member about everything, with a guest about control logs.

The roster decides, at each moment: who is added while the link stands hears everything from then on, who is removed hears the decision that says so,
then that it is no member, then nothing.
"""

from collections.abc import Iterable

from peer.core.certificate import LogKind
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Commit, Replica
from peer.errors import NotAMemberError, RemoteProtocolError
from peer.sync.backfill import BackfillSide
from peer.sync.guests import Access, Guests, access_of
from peer.sync.messages import Error, Guest, Have, Member, Offer, Want
from peer.sync.offers import OfferSide
from peer.sync.outbox import Outbox
from peer.sync.push import PushSide
from peer.sync.telling import Telling


class Speaking:
    """The groups of one link."""

    def __init__(self, replica: Replica, outbox: Outbox, remote: PeerId, sides: tuple[BackfillSide, PushSide], guests: Guests) -> None:
        """`sides` are what comes in and what goes out."""
        self._replica = replica
        self._outbox = outbox
        self._remote = remote
        self._backfill, self._push = sides
        self._guests = guests
        self._telling = Telling(replica, outbox)
        self._offers = OfferSide(replica, outbox, remote)
        self._terms: dict[GroupId, Access] = {}
        """What they are to each group that is spoken about."""
        self._shown: dict[GroupId, object] = {}
        """The roster by which they were told of each group last."""
        self._denied: set[GroupId] = set()
        """Groups of which they were told that they are no members."""
        self._was_shared = False
        self._heard: set[GroupId] = set()
        """Groups of which they have told what they hold."""
        self._as_guests: set[GroupId] = set()
        """Groups in which they take us for a guest."""

    def begin(self, named: Iterable[GroupId], now_ms: int, *, we_named: bool) -> None:
        """Both have proved who they are; `named` is what the dialler wants to speak about, in its proof or as a joiner."""
        for group in dict.fromkeys(named):
            self._speak(group, now_ms)
        if not we_named:
            for group in sorted(group for group in self._replica.groups if group not in self._terms and self._access(group) is Access.MEMBER):
                self._offers.make(group)

    @property
    def is_idle(self) -> bool:
        """True while there is nothing to speak about."""
        return not (self._terms.keys() - self._telling.refused) and not self._offers.is_deciding

    @property
    def is_over(self) -> bool:
        """True if nothing is left to speak about with somebody who never was a member on this link."""
        return self.is_idle and not self._was_shared and bool(self._denied)

    def shared(self, *, heard: bool = False) -> set[GroupId]:
        """Groups that both sides speak about as members, as far as is known; `heard` are those of which they have said so."""
        members = {group for group, terms in self._terms.items() if not terms.is_guest}
        found = members - self._telling.refused - self._as_guests
        return found & self._heard if heard else found

    # What they say

    def meet(self, have: Have, now_ms: int) -> bool:
        """They tell what they hold; whether we listen."""
        if not self.is_spoken(have.group, now_ms):
            return False
        self._guests.named(have.group, len(have.logs))
        self._heard.add(have.group)
        return True

    def is_spoken(self, group: GroupId, now_ms: int) -> bool:
        """Whether `group` is spoken about with them, who just did. Says so if not: guests knock by naming a group in their proof."""
        access = self._access(group)
        if group not in self._terms or group in self._telling.refused:
            if access.is_guest or access is Access.NONE:
                self._refuse(group, "you are no member of this group here")
                return False
            if group in self._telling.refused:
                self._terms[group] = access
                self._take_up_again(group)
            else:
                self._speak(group, now_ms)
        return group in self._terms

    def told_guest(self, group: GroupId, now_ms: int) -> None:
        """They do not know us for a member of `group`: what is told to them now are control logs."""
        if self._replica.groups.get(group) is not None and (group in self._terms or self.is_spoken(group, now_ms)):
            self._as_guests.add(group)

    def told_member(self, group: GroupId) -> None:
        """They do now, and have passed over what they were told of data."""
        if group in self._as_guests:
            self._as_guests.discard(group)
            if self._telling.is_told(group):
                self._take_up_again(group)

    def refused(self, group: GroupId, code: str) -> None:
        """They do not speak about `group` with us. A member that has nothing of it is offered it."""
        self._telling.refuse(group)
        self._as_guests.discard(group)
        self._push.drop_group(group)
        self._backfill.drop_group(group)
        if not self._telling.is_told(group):
            self._end(group)
        if code == NotAMemberError.code and self._access(group) is Access.MEMBER:
            self._offers.make(group)

    def offered(self, offer: Offer, now_ms: int) -> None:
        """They have a group of which they say that we are members."""
        if self._access(offer.group) is Access.NONE:
            self._offers.made_to_us(offer)
        elif offer.group not in self._terms and offer.group not in self._denied:
            self._speak(offer.group, now_ms)

    # What happens here

    def wanted(self, want: Want) -> None:
        """They ask for a log. It may be that they do not know yet what they may not have."""
        view = self._replica.groups.get(want.group)
        if view is None or want.group not in self._terms:
            self._refuse(want.group, "you are no member of this group here")
        elif want.log not in view.certificates:
            if not self._terms[want.group].is_guest:
                raise RemoteProtocolError("a log is asked for that we never said we have")
        elif self.hears(want.group, view.certificates[want.log].kind):
            self._push.want(want)

    def committed(self, commit: Commit) -> None:
        """Tell them, or send it to them, as far as it is for them."""
        group, log = commit.group, commit.run.log
        if group not in self._terms or group in self._telling.refused or not self.hears(group, commit.certificate.kind):
            return
        if self._push.is_wanted(group, log):
            self._telling.note(group, log, commit.tips)
            self._push.committed(commit)
        else:
            self._telling.tell_commit(commit)

    def hears(self, group: GroupId, kind: LogKind) -> bool:
        """Whether they may know of logs of this kind."""
        access = self._access(group)
        if kind is LogKind.CONTROL:
            return access > Access.STRANGER
        return access is Access.MEMBER and group not in self._as_guests

    def changed(self, now_ms: int) -> None:
        """A roster, or what the operator wants, has changed."""
        for group in list(self._terms):
            self._judge(group, now_ms)
        for group in sorted(self._replica.groups.keys() - self._terms.keys()):
            if self._access(group) >= Access.NAMED and not self._offers.is_made(group):
                self._speak(group, now_ms)
        self._offers.ask_again()
        self._backfill.rosters_changed(now_ms)
        for group in self._terms.keys() - self._telling.refused:
            self._tell_changes(group)

    def offer_decided(self, group: GroupId, now_ms: int) -> None:
        """A group that they offered is held now."""
        if group not in self._terms and group in self._replica.groups:
            self._speak(group, now_ms)

    def tick(self, now_ms: int) -> list[GroupId]:
        """Time has passed; the groups of which they have not shown that they are members."""
        late = [group for group in self._guests.late(now_ms) if group in self._terms]
        strangers = [group for group in late if self._terms[group] is Access.STRANGER]
        for group in late:
            self._deny(group, "you are no member of this group")
        return strangers

    def heard_out(self) -> None:
        """Former members that know now that they are: tell them that this is all."""
        for group in [group for group, terms in self._terms.items() if terms is Access.FORMER]:
            if self._backfill.agrees_on_control(group):
                self._deny(group, "you are no member of this group any more")

    # Terms

    def _access(self, group: GroupId) -> Access:
        return access_of(self._replica, group, self._remote)

    def _speak(self, group: GroupId, now_ms: int) -> None:
        """Begin to speak about `group`, on the terms that they have."""
        access = self._access(group)
        if access >= Access.NAMED:
            self._denied.discard(group)
        if access is Access.NONE or group in self._denied:
            self._refuse(group, "you are no member of this group here")
            return
        if access.is_guest and not self._guests.admit(group, now_ms):
            self._refuse(group, "too many guests at once")
            return
        self._terms[group] = access
        self._offers.unmake(group)
        if access.is_guest:
            self._outbox.send(Guest(group))
        self._tell(group)

    def _tell(self, group: GroupId) -> None:
        """Tell them all that they may hear."""
        self._shown[group] = self._replica.groups[group].roster
        self._was_shared = self._was_shared or self._terms[group] is Access.MEMBER
        if self.hears(group, LogKind.CONTROL):
            self._telling.tell(group, data=self.hears(group, LogKind.DATA))

    def _take_up_again(self, group: GroupId) -> None:
        if self.hears(group, LogKind.CONTROL):
            self._telling.tell_again(group, data=self.hears(group, LogKind.DATA))

    def _tell_changes(self, group: GroupId) -> None:
        """Where another roster lets other events count: tell them, or send on what they asked for."""
        roster = self._replica.groups[group].roster
        if self._shown.get(group) is roster or not self._telling.is_told(group):
            return
        self._shown[group] = roster
        changed = self._telling.changed(group, data=self.hears(group, LogKind.DATA))
        for log in changed:
            if self._push.is_wanted(group, log):
                self._telling.note(group, log, self._replica.groups[group].tips[log])
                self._push.look_again(group, log)
        self._telling.tell_logs(group, [log for log in changed if not self._push.is_wanted(group, log)])

    def _judge(self, group: GroupId, now_ms: int) -> None:
        """What they are to `group` may have changed."""
        before, access = self._terms[group], self._access(group)
        if access is before:
            return
        self._terms[group] = access
        if access is Access.NONE:
            self._deny(group, "this group is not here any more")
            self._denied.discard(group)
            return
        if not access.is_guest:
            self._guests.leave(group, as_member=access is Access.MEMBER)
        if group in self._telling.refused:
            return
        if before.is_guest and access is Access.MEMBER:
            self._outbox.send(Member(group))
        elif access.is_guest and not before.is_guest:
            self._push.drop_group(group, kind=LogKind.DATA)
            if not self._guests.admit(group, now_ms):
                self._deny(group, "you are no member of this group any more")
                return
            self._outbox.send(Guest(group))
        self._backfill.access_changed(group, now_ms, anew=before.is_guest)
        if access is Access.MEMBER or not self._telling.is_told(group):
            self._tell(group)

    def _deny(self, group: GroupId, why: str) -> None:
        self._refuse(group, why)
        self._denied.add(group)
        self._end(group)
        self._push.drop_group(group)
        self._backfill.drop_group(group)

    def _end(self, group: GroupId) -> None:
        self._terms.pop(group, None)
        self._shown.pop(group, None)
        self._as_guests.discard(group)
        self._telling.forget(group)
        self._guests.leave(group)

    def _refuse(self, group: GroupId, why: str) -> None:
        self._outbox.send(Error(NotAMemberError.code, why, group))

    # For the session

    @property
    def telling(self) -> Telling:
        """What they know of us."""
        return self._telling

    @property
    def offers(self) -> OfferSide:
        """What was offered."""
        return self._offers
