"""Comparing what events say, what lies here and what other sites have: ten cases, and what each of them asks for. Pure.

A file of a recording that events tell of is in one of eight of them. The other two are bytes that no event tells of, here or elsewhere. Nothing is
ever deleted for any of them.
"""

from collections.abc import Collection
from enum import Enum, StrEnum


class Here(Enum):
    """How the bytes of a file are at this site, by hashing them."""

    SOUND = "sound"
    DAMAGED = "damaged"
    ABSENT = "absent"


class Proof(Enum):
    """What became of asking a site, which says that it has a file, for a piece of it."""

    RIGHT = "right"
    WRONG = "wrong"
    ABSENT = "absent"
    """It says that it does not have it."""
    UNASKED = "unasked"
    """It could not be asked, or not be held to its word."""


class Row(StrEnum):
    """A case. The first eight are those of a file that events tell of."""

    ONLY_HERE = "only_here"
    """Sound here, and nobody else has it."""
    UNSAID = "unsaid"
    """Sound here and elsewhere, and this site has not said so."""
    SOUND = "sound"
    """Sound here and elsewhere, and everybody knows."""
    WRONG_ELSEWHERE = "wrong_elsewhere"
    """Sound here; somebody who says to have it gave other bytes."""
    DAMAGED = "damaged"
    """What lies here is something else."""
    ELSEWHERE = "elsewhere"
    """Not here; another site proved to have it."""
    MISSING = "missing"
    """Neither here nor anywhere that is known."""
    UNPROVEN = "unproven"
    """Others say that they have it, and nobody proved it."""
    STRAY_HERE = "stray_here"
    """Bytes here that no event tells of."""
    STRAY_ELSEWHERE = "stray_elsewhere"
    """Bytes that a site says to have, of which no other event tells."""


NUMBERS = {
    row: number
    for number, row in enumerate(
        (
            Row.ONLY_HERE,
            Row.UNSAID,
            Row.SOUND,
            Row.WRONG_ELSEWHERE,
            Row.DAMAGED,
            Row.ELSEWHERE,
            Row.MISSING,
            Row.STRAY_HERE,
            Row.STRAY_ELSEWHERE,
            Row.UNPROVEN,
        ),
        1,
    )
}
"""As the table in docs/bytes.md counts them."""

WRONG = frozenset({Row.WRONG_ELSEWHERE, Row.DAMAGED, Row.MISSING})
"""Cases that are not as they must be, whatever this site is meant to keep."""


def row_of(here: Here, proofs: Collection[Proof], *, is_said: bool) -> Row:
    """The case of a file. `proofs` are those of all other sites that say to have it, `is_said` is whether this site says so."""
    if here is Here.DAMAGED:
        return Row.DAMAGED
    if here is Here.SOUND and Proof.WRONG in proofs:
        return Row.WRONG_ELSEWHERE
    if Proof.RIGHT in proofs:
        if here is Here.ABSENT:
            return Row.ELSEWHERE
        return Row.SOUND if is_said else Row.UNSAID
    if Proof.UNASKED in proofs:
        return Row.UNPROVEN
    return Row.ONLY_HERE if here is Here.SOUND else Row.MISSING


def says_so(row: Row, here: Here, *, is_said: bool) -> bool:
    """True if this site is to tell the group that it has the file."""
    return here is Here.SOUND and not is_said and row in (Row.ONLY_HERE, Row.UNSAID, Row.WRONG_ELSEWHERE, Row.UNPROVEN)


def is_to_come(row: Row, here: Here, *, is_meant: bool) -> bool:
    """True if restoring brings the file here: damaged bytes always, absent ones where they are meant to be here.

    Also where nobody proved anything: what comes is hashed before it counts.
    """
    return row is Row.DAMAGED or (here is Here.ABSENT and is_meant and row in (Row.ELSEWHERE, Row.UNPROVEN, Row.MISSING))
