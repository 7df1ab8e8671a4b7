"""Who may drop its copy of a recording, decided: one site's part in it, for one recording. Pure; `operations/dropping.py` does what is decided here.

A site that wants to drop its copy opens a round: it asks others to prove that they hold the recording, and drops once as many have as the group wants
copies. Two rules keep that many copies, whatever is lost, delayed or repeated, and whoever crashes:

- Who is in a round proves nothing to anybody, from before it asks until its bytes are gone or it gave up. So of several that are in rounds at once
  the one that began last was told nothing by the others: those who proved to it stay.
- Who proves promises not to begin a round of its own until the round that it was for has ended: its release was seen, it was given up, or its site
  is a member no more. A promise outlasts a restart; a round does not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from peer.core.identity import PeerId
from peer.errors import CopyPromisedError, CopyReleasingError

ROUND_SIZE = 32


@dataclass(frozen=True, slots=True)
class Promise:
    """Not to drop, given to who proved to be in a round."""

    peer: PeerId
    round_id: bytes


@dataclass(frozen=True, slots=True)
class Round:
    """A release that has begun."""

    round_id: bytes
    needed: int
    """How many others have to prove that they hold it."""
    proven: frozenset[PeerId] = frozenset()
    is_released: bool = False
    """True once it is said, durably, that the copy here is none any more."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What one site is bound by, about one recording."""

    promises: frozenset[Promise] = frozenset()
    round: Round | None = None


NOTHING = Keeping()


def begin(keeping: Keeping, round_id: bytes, needed: int) -> Keeping:
    """Open a round, before anybody is asked. Raises `CopyPromisedError` or `CopyReleasingError`."""
    if keeping.round is not None:
        raise CopyReleasingError("this copy is being dropped already", fix="wait until that has ended")
    if keeping.promises:
        raise CopyPromisedError(
            "another site that drops its copy counts on the one here", fix="try again when that site has dropped it, or given that up"
        )
    return replace(keeping, round=Round(round_id, max(1, needed)))


def promise(keeping: Keeping, peer: PeerId, round_id: bytes) -> Keeping:
    """Bind this site before its proof leaves: a newer round of the same site replaces the older. Raises `CopyReleasingError`."""
    if keeping.round is not None:
        raise CopyReleasingError("this copy is being dropped itself")
    others = frozenset(each for each in keeping.promises if each.peer != peer)
    return replace(keeping, promises=others | {Promise(peer, round_id)})


def proved(keeping: Keeping, round_id: bytes, peer: PeerId) -> Keeping:
    """A proof by `peer` has come, and is right. What comes for another round than the one that is open says nothing."""
    its = keeping.round
    if its is None or its.round_id != round_id:
        return keeping
    return replace(keeping, round=replace(its, proven=its.proven | {peer}))


def may_release(keeping: Keeping, is_member: Callable[[PeerId], bool]) -> bool:
    """Whether enough others that are members now have proved to hold it."""
    its = keeping.round
    return its is not None and sum(map(is_member, its.proven)) >= its.needed


def release(keeping: Keeping, is_member: Callable[[PeerId], bool]) -> Keeping:
    """Say that the copy here is none any more: to be made durable at once, then the bytes go."""
    assert may_release(keeping, is_member), "who releases has been told by enough others"
    assert keeping.round is not None
    return replace(keeping, round=replace(keeping.round, is_released=True))


def end(keeping: Keeping) -> Keeping:
    """The round is over: it was given up, or the bytes are gone."""
    return replace(keeping, round=None)


def goes_on(keeping: Keeping, round_id: bytes) -> bool:
    """What is answered to who promised something for this round. Once the answer was no it is never yes again."""
    return keeping.round is not None and keeping.round.round_id == round_id


def ended(keeping: Keeping, peer: PeerId, round_id: bytes | None = None) -> Keeping:
    """A round of `peer` has ended, or all of them: what was promised for it binds no more."""
    return replace(keeping, promises=frozenset(each for each in keeping.promises if each.peer != peer or round_id not in {None, each.round_id}))


def resumed(keeping: Keeping) -> Keeping:
    """A round was open when the process ended: until the log has said whether the copy was released it counts as if it had been."""
    return replace(keeping, round=Round(bytes(ROUND_SIZE), 1, is_released=True))


def after_restart(keeping: Keeping) -> Keeping:
    """What is left once the log has said that the copy was not released: promises."""
    return replace(keeping, round=None)
