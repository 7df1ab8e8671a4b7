"""What a command printed and how it ended, for the tests of commands."""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

ERROR_LINE = re.compile(r"recmesh: .+ \[[a-z_]+\]\n\Z")


class Result(NamedTuple):
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, as one document."""
        return json.loads(self.out)

    @property
    def code(self) -> str:
        """The stable code of the one line that says what went wrong."""
        last = self.err.splitlines(keepends=True)[-1]
        assert ERROR_LINE.match(last), self.err
        return last.rsplit("[", 1)[1].rstrip("]\n")


Command = Callable[..., Result]
