"""What planted bugs have in common: how a line of a function is changed, and how a test is asked whether it notices.

A planted bug is caught if the test passes without it and an assertion of the test fails with it. Any other error is a bug in what was planted, unless
the bug says that it shows so.
"""

import functools
import inspect
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]
Check = Callable[[Path], Awaitable[None] | None]
"""Something that fails where a promise is broken, given an empty folder: nearly always a test of this project, called with what it needs."""


class Mutant(NamedTuple):
    """A bug, and the check that must catch it."""

    plant: Plant
    check: Check
    shows: tuple[type[BaseException], ...] = (AssertionError, pytest.fail.Exception)
    """How the check fails, where it is not by what it asserts but by an error that the test does not expect."""


def name_of(mutant: Mutant) -> str:
    """The name of the bug, as it stands in reports."""
    return mutant.plant.__name__


def change(patch: pytest.MonkeyPatch, function: Callable[..., Any], *changes: tuple[str, str]) -> None:
    """Let `function` run as if other text stood in its source, also for those who hold it already. Each old text stands there once."""
    assert isinstance(function, FunctionType)
    assert not function.__closure__, "a closure cannot be written anew"
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        assert source.count(old) == 1, f"{function.__qualname__} has changed: plant this bug anew"
        source = source.replace(old, new)
    namespace: dict[str, Any] = {}
    code = compile(source, f"<planted in {function.__qualname__}>", "exec", dont_inherit=True)
    exec(code, function.__globals__, namespace)  # noqa: S102  (the source is our own)
    patch.setattr(function, "__code__", namespace[function.__name__].__code__)


def impatient(mutant: Mutant, seconds: float, *deadlines: str) -> Mutant:
    """The same, with these deadlines for what the bug keeps from coming. What is sound has the time that it needs, however slow the machine."""

    @functools.wraps(mutant.plant)
    def plant(patch: pytest.MonkeyPatch) -> None:
        for deadline in deadlines:
            patch.setattr(deadline, seconds)
        mutant.plant(patch)

    return mutant._replace(plant=plant)


async def assert_caught(mutant: Mutant, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Raise unless the check passes without the bug and fails with it."""
    await _run(mutant.check, folder / "sound")
    mutant.plant(patch)
    try:
        await _run(mutant.check, folder / "planted")
    except BaseException as error:
        if all(isinstance(leaf, mutant.shows) for leaf in _leaves(error)):
            return
        raise
    raise AssertionError(f"{name_of(mutant)} survives")


async def _run(check: Check, folder: Path) -> None:
    folder.mkdir()
    waiting = check(folder)
    if waiting is not None:
        await waiting


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error
