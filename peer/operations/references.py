"""How people name things: a full id, the start of one (at least 6 characters), or a name that is unique."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from peer.core.identity import ID_SIZE, GroupId
from peer.core.interfaces import GroupView, Replica
from peer.core.names import folded
from peer.errors import AmbiguousError, NotFoundError, RequestError

PREFIX_CHARACTERS_MIN = 6
SHOWN_MAX = 5
_HEX = frozenset("0123456789abcdef")
T = TypeVar("T")


def is_prefix(reference: str) -> bool:
    """True for what may be an id or the start of one."""
    return PREFIX_CHARACTERS_MIN <= len(reference) <= 2 * ID_SIZE and _HEX.issuperset(reference)


def parse_id(text: str, what: str) -> bytes:
    """The 32 bytes of a full id. Raises `RequestError`."""
    if len(text) != 2 * ID_SIZE or not _HEX.issuperset(text):
        raise RequestError(f"{text[:80]!r} is no {what}", fix=f"write all {2 * ID_SIZE} hexadecimal digits")
    return bytes.fromhex(text)


def choose(reference: str, what: str, candidates: Iterable[tuple[bytes, str, T]], *, see: str = "") -> T:
    """The one of `candidates`, each with its id and name (empty for none), that `reference` means. Raises `NotFoundError` or `AmbiguousError`.

    `see` is the command that lists them, where it is not `WHAT list`.
    """
    found: list[tuple[bytes, str, T]] = []
    for identifier, name, thing in candidates:
        if identifier.hex() == reference:
            return thing
        if (name and folded(name) == folded(reference)) or (is_prefix(reference) and identifier.hex().startswith(reference)):
            found.append((identifier, name, thing))
    if not found:
        short = (
            ""
            if len(reference) >= PREFIX_CHARACTERS_MIN or not _HEX.issuperset(reference)
            else f", and write {PREFIX_CHARACTERS_MIN} digits of an id"
        )
        raise NotFoundError(f"there is no {what} {reference[:128]!r} here", fix=f"see `recmesh {see or f'{what} list'}`{short}")
    if len(found) > 1:
        names = ", ".join(f"{name} {identifier.hex()[:12]}" for identifier, name, _ in sorted(found, key=lambda each: each[0])[:SHOWN_MAX])
        raise AmbiguousError(f"{reference!r} fits {len(found)} {what}s: {names}", fix="write more of its id")
    return found[0][2]


def find_group(replica: Replica, reference: str | None) -> tuple[GroupId, GroupView]:
    """The group that `reference` means; without one, the only group."""
    groups: Mapping[GroupId, GroupView] = replica.groups
    if reference is not None:
        return choose(reference, "group", ((group, view.genesis.name, (group, view)) for group, view in groups.items()))
    if not groups:
        raise NotFoundError("this peer is in no group yet", fix="`recmesh group create NAME` or `recmesh group join INVITATION`")
    if len(groups) > 1:
        names = ", ".join(sorted(view.genesis.name for view in groups.values())[:SHOWN_MAX])
        raise AmbiguousError(f"this peer is in {len(groups)} groups: {names}", fix="choose one with --group")
    return next(iter(groups.items()))
