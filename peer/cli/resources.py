"""What several nouns of the command line ask for: where the admin API keeps it, and how people name it."""

from typing import Annotated
from urllib.parse import quote

import typer

RECORDINGS = "/api/v1/recordings"
Reference = Annotated[str, typer.Argument(metavar="REC", help="Name, id, or the start of its id.")]
Person = Annotated[str | None, typer.Option(metavar="NAME", help="Who says so. Default: the login name of whoever runs this.")]


def recording_path(recording: str, *rest: str) -> str:
    """Of a recording, named as people name it, or of what is below it."""
    return "/".join([RECORDINGS, quote(recording, safe=""), *rest])
