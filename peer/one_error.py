"""Tasks that run together end together, with all their errors: here the one is found that somebody can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from peer.errors import MeshError


@contextmanager
def one_error() -> Iterator[None]:
    """Of the errors that end several tasks at once, let out the one that somebody can act on."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the peer: one of ours if there is one."""
    ours, rest = group.split(MeshError)
    leaf: BaseException = ours or rest or group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf
