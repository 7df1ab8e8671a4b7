"""The words by which recordings are listed. Apart from what makes the lists: commands need these alone, and start without the rest."""

from typing import Literal

Order = Literal["created", "start", "end", "name", "size", "messages", "site"]
ORDERS: tuple[Order, ...] = ("created", "start", "end", "name", "size", "messages", "site")
State = Literal["open", "local", "partial", "remote", "missing", "corrupt"]
"""How much of a recording is here."""
DESCENDING: frozenset[Order] = frozenset({"created", "start", "end", "size", "messages"})
"""Orders that begin with the latest or the most."""
