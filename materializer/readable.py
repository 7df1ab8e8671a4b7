"""Messages as JSON documents: what is in one, where it is known how to read that, else its bytes.

What cannot be read is no error: others wrote it. It is given as it is, with a note that says why.
"""

import base64
import json
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from materializer.mcap_messages import Message
from materializer.mcap_records import ChannelFacts, SchemaFacts
from materializer.ros_messages import NotReadableError, make_reader

JSON_SIZE_MAX = 16 * 1024 * 1024
"""Bytes of a payload that is read; a larger one is given as it is."""

READERS_MAX = 1000
"""Schemas that are remembered while one recording is read."""

_Read = Callable[[bytes], object]


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


class Reading:
    """Payloads of one recording, and how they are read."""

    def __init__(self) -> None:
        self._readers: dict[SchemaFacts, _Read] = {}

    def document(self, message: Message) -> Readable:
        """What is in the payload, as far as that can be told."""
        read = self._reader(message.channel)
        if read is None:
            return as_bytes(message)
        if len(message.data) > JSON_SIZE_MAX:
            return as_bytes(message, "too large to be shown")
        try:
            return Readable("json", read(message.data))
        except NotReadableError as error:
            return as_bytes(message, f"cannot be read as {message.channel.message_encoding}: {error}")

    def _reader(self, channel: ChannelFacts) -> _Read | None:
        if channel.message_encoding == "json":
            return _read_json
        schema = channel.schema
        if channel.message_encoding != "cdr" or schema is None or schema.encoding != "ros2msg":
            return None
        if schema not in self._readers:
            if len(self._readers) >= READERS_MAX:
                self._readers.clear()
            self._readers[schema] = _ros_reader(schema)
        return self._readers[schema]


def _ros_reader(schema: SchemaFacts) -> _Read:
    try:
        return make_reader(schema.name, schema.data)
    except NotReadableError as error:
        return partial(_refuse, str(error))


def _read_json(data: bytes) -> object:
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise NotReadableError("too deep") from error
    except NotReadableError:
        raise
    except ValueError as error:
        raise NotReadableError("it is none") from error


def _finite(text: str) -> float:
    """A number; one that is larger than any is none for JSON."""
    value = float(text)
    if not math.isfinite(value):
        raise NotReadableError("a number that is too large")
    return value


def _refuse(why: str, _: bytes = b"") -> object:
    raise NotReadableError(why)
