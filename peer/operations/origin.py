"""Where a recording that is added comes from, as its first event says it: what adds it, on which host, from which place, for whom."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from materializer.fields import LABEL_BYTES_MAX, PATH_BYTES_MAX, is_line, tame_line
from peer import __version__
from peer.errors import RequestError

TOOL = "recmesh"


class Origin(NamedTuple):
    """As in `RecordingCreate`."""

    tool: str
    tool_version: str
    host: str
    source_path: str
    operator: str


def origin_of(paths: Sequence[Path], operator: str) -> Origin:
    """Of files at these paths: of several the folder that holds all of them."""
    whole = [os.path.abspath(path) for path in paths]  # noqa: PTH100  (links stay as they are: they are what somebody named)
    source = whole[0] if len(whole) == 1 else os.path.commonpath(whole) if whole else ""
    return Origin(TOOL, __version__, tame_line(socket.gethostname(), LABEL_BYTES_MAX), tame_line(source, PATH_BYTES_MAX), operator)


def check_operator(operator: str) -> None:
    """Raise `RequestError` for a name that cannot stand in an event."""
    if not is_line(operator, LABEL_BYTES_MAX):
        raise RequestError(f"{operator[:80]!r} cannot be an operator", fix=f"use one line of at most {LABEL_BYTES_MAX} bytes")
