"""Messages as JSON documents: what is in one, where it is known how to read that, else its bytes.

What cannot be read is no error: others wrote it. It is given as it is, with a note that says why.
"""

import base64
import json
from typing import NamedTuple

from materializer.mcap_messages import Message

JSON_ENCODINGS = ("json", "jsonschema")
JSON_SIZE_MAX = 16 * 1024 * 1024
"""Bytes of a payload that is read; a larger one is given as it is."""


class Readable(NamedTuple):
    """The payload of a message, for JSON."""

    encoding: str
    """How `data` is to be taken: `json` for what was in it, `base64` for its bytes."""
    data: object
    note: str = ""
    """Why it is given as bytes, if it might have been read."""


def as_bytes(message: Message, note: str = "") -> Readable:
    """The payload as it is."""
    return Readable("base64", base64.b64encode(message.data).decode(), note)


def as_document(message: Message) -> Readable:
    """What is in the payload, as far as that can be told."""
    if message.channel.message_encoding not in JSON_ENCODINGS:
        return as_bytes(message)
    if len(message.data) > JSON_SIZE_MAX:
        return as_bytes(message, "too large to be shown")
    try:
        return Readable("json", json.loads(message.data, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return as_bytes(message, "not JSON, though it should be")


def _refuse(text: str) -> object:
    raise ValueError(f"{text} is no JSON")
