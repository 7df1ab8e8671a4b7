"""Where the admin API keeps what several nouns of the command line ask for."""

from urllib.parse import quote

RECORDINGS = "/api/v1/recordings"


def recording_path(recording: str, *rest: str) -> str:
    """Of a recording, named as people name it, or of what is below it."""
    return "/".join([RECORDINGS, quote(recording, safe=""), *rest])
