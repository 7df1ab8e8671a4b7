"""Sites that hold one recording and drop it, all of what may happen as steps: each message may be early, late, twice or lost, each site may crash.

A state is a value, so that all of them can be gone through. The rules are those of `peer.core.dropping`, or planted ones in their place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

from peer.core import dropping
from peer.core.identity import PeerId
from peer.errors import CopyPromisedError, CopyReleasingError


@dataclass(frozen=True)
class Site:
    """One of them."""

    keeping: dropping.Keeping = dropping.NOTHING
    holds: bool = True
    """Its bytes are there."""
    released: bool = False
    """It said so in the log."""
    rounds: int = 0
    crashes: int = 0
    wants: bool = False
    """Somebody asked it to drop its copy."""


@dataclass(frozen=True)
class Message:
    """On its way."""

    kind: str
    to: int
    sender: int
    round_id: bytes


@dataclass(frozen=True)
class World:
    """All of them, with what is under way."""

    sites: tuple[Site, ...]
    messages: frozenset[Message] = frozenset()
    min_copies: int = 2
    liars: frozenset[int] = frozenset()
    """Those that say that they hold it, and do not: their proofs are wrong, and are seen to be."""
    members: frozenset[int] = frozenset()

    def copies(self) -> int:
        """Live ones: of members, not released, with bytes."""
        return sum(site.holds and not site.released and number in self.members for number, site in enumerate(self.sites))


def world(count: int, droppers: int, min_copies: int, liars: int = 0) -> World:
    """`count` sites that hold it, of which the first `droppers` are to drop it; the last `liars` only say so."""
    sites = tuple(Site(wants=number < droppers, holds=number < count - liars) for number in range(count))
    return World(sites, frozenset(), min_copies, frozenset(range(count - liars, count)), frozenset(range(count)))


def name(number: int) -> PeerId:
    """Of a site."""
    return PeerId(bytes([number]) * 32)


def round_name(number: int, count: int) -> bytes:
    """Of a round of it."""
    return bytes([number, count]) * 16


def steps(  # noqa: C901  (all that may happen in one place)
    state: World, *, rounds_max: int = 1, crashes_max: int = 0, rules: ModuleType = dropping, lossy: bool = True
) -> Iterator[tuple[str, World]]:
    """All that may happen next, by name. A message that is never delivered is as good as lost: who goes through all states needs no loss."""
    for number, site in enumerate(state.sites):
        if site.wants and site.holds and not site.released and site.keeping.round is None and site.rounds < rounds_max:
            yield from _begin(state, number, site, rules)
        its = site.keeping.round
        if its is not None and not its.is_released:
            if rules.may_release(site.keeping, lambda peer: peer[0] in state.members):
                keeping = rules.release(site.keeping, lambda peer: peer[0] in state.members)
                yield "release", _with(state, number, replace(site, keeping=keeping, released=True))
            yield "give up", _ended(_with(state, number, replace(site, keeping=rules.end(site.keeping))), number, its.round_id)
        if its is not None and its.is_released:
            after = replace(site, keeping=rules.end(site.keeping), holds=False)
            yield "bytes go", _ended(_with(state, number, after), number, its.round_id)
        if site.released and site.holds and its is None:
            yield "bytes go after a crash", _with(state, number, replace(site, holds=False))
        if sum(each.crashes for each in state.sites) < crashes_max:
            yield "crash", _with(state, number, replace(site, keeping=rules.after_restart(site.keeping), crashes=site.crashes + 1))
        for given in site.keeping.promises:
            asked = state.sites[given.peer[0]]
            if not rules.goes_on(asked.keeping, given.round_id):
                yield "ask after a round", _with(state, number, replace(site, keeping=rules.ended(site.keeping, given.peer, given.round_id)))
            if asked.released:
                yield "see a release", _with(state, number, replace(site, keeping=rules.ended(site.keeping, given.peer)))
    for message in state.messages:
        if lossy:
            yield "lose", replace(state, messages=state.messages - {message})
        yield from _deliver(state, message, rules)


def _begin(state: World, number: int, site: Site, rules: ModuleType) -> Iterator[tuple[str, World]]:
    round_id = round_name(number, site.rounds)
    try:
        keeping = rules.begin(site.keeping, round_id, state.min_copies)
    except CopyPromisedError:
        return
    others = frozenset(Message("want", other, number, round_id) for other in range(len(state.sites)) if other != number)
    after = _with(state, number, replace(site, keeping=keeping, rounds=site.rounds + 1))
    yield "begin", replace(after, messages=state.messages | others)


def _deliver(state: World, message: Message, rules: ModuleType) -> Iterator[tuple[str, World]]:
    """With the message gone afterwards. One that is repeated is there twice: its sender sent it again."""
    left = replace(state, messages=state.messages - {message})
    number, site, peer = message.to, state.sites[message.to], name(message.sender)
    match message.kind:
        case "want" if number in state.liars:
            yield "lie", replace(left, messages=left.messages | {Message("lie", message.sender, number, message.round_id)})
        case "want" if site.holds and not site.released:
            try:
                keeping = rules.promise(site.keeping, peer, message.round_id)
            except CopyReleasingError:
                yield "refuse", left
                return
            promised = _with(left, number, replace(site, keeping=keeping))
            yield "promise", promised  # And the answer is lost, or the site crashes before it leaves.
            yield "prove", replace(promised, messages=left.messages | {Message("proof", message.sender, number, message.round_id)})
        case "want":
            yield "have none", left
        case "proof":
            yield "hear a proof", _with(left, number, replace(site, keeping=rules.proved(site.keeping, message.round_id, peer)))
        case "lie":
            yield "hear a lie", left
        case "ended":
            yield "hear of an end", _with(left, number, replace(site, keeping=rules.ended(site.keeping, peer, message.round_id)))


def _ended(state: World, number: int, round_id: bytes) -> World:
    told = frozenset(Message("ended", other, number, round_id) for other in range(len(state.sites)) if other != number)
    return replace(state, messages=state.messages | told)


def _with(state: World, number: int, site: Site) -> World:
    return replace(state, sites=(*state.sites[:number], site, *state.sites[number + 1 :]))
