"""A bug on purpose, for the test that asks whether the fuzzer would find one.

One input in sixteen million hits it. But each step to it is a branch of its own, which an engine that watches branches takes one at a time.
"""

from collections.abc import Callable

PLANTED = "RECMESH_FUZZ_PLANTED"
"""Set in the environment of a worker that is to have the bug."""


class PlantedError(Exception):
    """The bug."""


def fragile(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """`run` with the bug in front of it."""

    def checked(data: bytes) -> None:
        _look(data)
        run(data)

    return checked


def _look(data: bytes) -> None:
    if len(data) < 6:
        return
    if data[0] >> 4 != 0x9:
        return
    if data[1] >> 4 != 0x1:
        return
    if data[2] >> 4 != 0xC:
        return
    if data[3] >> 4 != 0x5:
        return
    if data[4] >> 4 != 0xE:
        return
    if data[5] >> 4 == 0x7:
        raise PlantedError("found")
