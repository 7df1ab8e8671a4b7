"""Bodies that nearly all events have, recognized by their bytes: several times faster than to decode them, encode them again and look at each value.

What does not look exactly like that is read the whole way (`bodies.py`), which alone says what is wrong with it.
"""

import re

from materializer.edits import RecordingTag
from materializer.fields import LABEL_BYTES_MAX, TIME_MAX_NS
from peer.core.encoding import decode_shallow, encode, head_size
from peer.core.identity import EventId
from peer.core.names import is_name
from peer.errors import NotCanonicalError

CREATE_FIELDS = ("host", "name", "tool", "machine", "profile", "operator", "created_ns", "source_path", "tool_version")
"""Of a recording, in the order of the encoding."""
TEXTS_MAX = LABEL_BYTES_MAX - 1
"""Characters of all texts of a recording together: each of them is within its limit, then, and has a head of two bytes at most."""
SHORT_TEXT_MAX = 23
"""Characters of a text whose head is one byte (RFC 8949, section 3)."""

_TRUE = b"\xf5"
_TAG = re.compile(
    rb"\xa3ctag([\x61-\x77]|\x78[\x18-\x80])([!-~](?:[ -~]{0,126}[!-~])?)gpresent([\xf4\xf5])irecording\x58\x20(.{32})",
    re.DOTALL,
)
_TEXT_HEADS = [bytes([0x60 + size]) if size <= SHORT_TEXT_MAX else bytes([0x78, size]) for size in range(129)]
"""How text of that size begins."""
_CREATE_HEAD = encode(dict.fromkeys(CREATE_FIELDS))[:6]
_CREATE_SIZE = len(encode(dict.fromkeys(CREATE_FIELDS, "")))


def usual_tag(body: bytes) -> RecordingTag | None:
    """A tag of plain characters, with no fields but those that are known here; None for any other body."""
    found = _TAG.fullmatch(body)
    if found is None:
        return None
    head, tag, present, recording = found.groups()
    if head != _TEXT_HEADS[len(tag)]:
        return None
    return RecordingTag(EventId(recording), tag.decode("ascii"), present == _TRUE)


def usual_create(body: bytes) -> tuple[str, str, int, str, str, str, str, str, str] | None:
    """The fields of a `RecordingCreate` with short texts of plain characters, and no others; None for any other body.

    Nothing but the lengths of texts and numbers can be written in two ways here, and the shortest is known by the size of the whole.
    """
    if not body.startswith(_CREATE_HEAD):
        return None
    try:
        fields = decode_shallow(body)
        if tuple(fields) != CREATE_FIELDS:  # type: ignore[arg-type]
            return None
        host, name, tool, machine, profile, operator, created_ns, source_path, tool_version = fields.values()  # type: ignore[attr-defined]
        texts = (host, name, tool, machine, profile, operator, source_path, tool_version)
        text = "".join(texts)
    except (NotCanonicalError, TypeError):
        return None
    if len(text) > TEXTS_MAX or not (text.isascii() and text.isprintable() and is_name(name)):
        return None
    longer = sum([len(each) > SHORT_TEXT_MAX for each in texts])
    if (
        type(created_ns) is not int
        or not 0 <= created_ns <= TIME_MAX_NS
        or len(body) != _CREATE_SIZE + len(text) + longer + head_size(created_ns) - 1
    ):
        return None
    return (name, machine, created_ns, profile, tool, tool_version, host, source_path, operator)
