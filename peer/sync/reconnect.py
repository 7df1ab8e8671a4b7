"""When to dial again, and which of two links between the same peers stays. Both are decided the same way at both ends, or by nobody else."""

from typing import NamedTuple

from peer.core.identity import PeerId

BACKOFF_MIN_MS = 1_000
BACKOFF_MAX_MS = 60_000


def delay_ms(failures: int, chance: float) -> int:
    """How long to wait after so many failures in a row: exponential, with equal jitter (Brooker, 2015). `chance` is in [0, 1)."""
    ceiling = min(BACKOFF_MAX_MS, BACKOFF_MIN_MS << min(failures, 16))
    return ceiling // 2 + int(chance * (ceiling - ceiling // 2))


def failures_after(failures: int, *, was_up_to_date: bool) -> int:
    """The number of failures in a row after a link that ended. One that came to the end of its backfill was none, however short it was."""
    return 0 if was_up_to_date else failures + 1


class LinkFacts(NamedTuple):
    """What both ends know of a link. Only links of one pair (remote peer id, its incarnation) are compared: a clone has links of its own."""

    dialler: PeerId
    listener: PeerId
    remote_process: bytes
    """Made anew whenever the remote process starts."""


def new_link_stays(old: LinkFacts, new: LinkFacts) -> bool:
    """Whether of two links of one pair the one that was established later stays.

    Of two between the same processes the one dialled by the lower peer id stays; of two from one dialler the newer, whose other end may be all that
    is left; and a link to a process that is gone has no use.
    """
    if old.remote_process != new.remote_process or old.dialler == new.dialler:
        return True
    return new.dialler < old.dialler
