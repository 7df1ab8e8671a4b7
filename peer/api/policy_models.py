"""What travels over the admin API about which bytes this site wants."""

from pydantic import Field

from peer.api.models import Answer, Count, Hex, Request
from peer.core.policy import RULE_CHARACTERS_MAX, RULES_MAX

SHOWN_DEFAULT = 1000
SHOWN_MAX = 10_000


class PolicyChange(Request):
    """Rules for a group, the first that fits decides; `default` alone for what the configuration says."""

    rules: list[str] = Field(min_length=1, max_length=RULES_MAX * 2)


class PolicyTry(PolicyChange):
    """Rules to try."""

    limit: int = Field(default=SHOWN_DEFAULT, ge=1, le=SHOWN_MAX, description="How many recordings to show")


class Policy(Answer):
    """What this site keeps of a group."""

    group_id: Hex
    group: str
    rules: list[str]
    is_default: bool
    """True where nobody set any: then they say what the configuration says."""


class Kept(Answer):
    """What the rules keep, here already or not. What several recordings have counts once."""

    recordings: Count
    files: Count
    bytes: Count


class Skipped(Answer):
    """What they do not keep."""

    recordings: Count


class RuledRecording(Answer):
    """What the rules say of a recording."""

    id: Hex
    name: str
    site: Hex
    site_name: str
    keep: bool
    rule: int | None
    """Which one says so, from 1; null if none fits."""
    reason: str = Field(max_length=RULE_CHARACTERS_MAX * 8)
    priority: int
    held_back: bool
    """True if it was dropped here, and nobody asked for it since: then no rule brings it."""
    size_bytes: Count
    travels_bytes: Count
    """What would come: that is not here yet."""


class PolicyTried(Policy):
    """What rules would bring here if they held now."""

    travels: Kept
    kept: Kept
    skipped: Skipped
    recordings: list[RuledRecording]
    """Those of which something would travel first, in that order."""
    left_out: Count
    """How many more there are."""
