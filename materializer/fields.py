"""The fields of bodies, one by one: what may stand in them, and how a body is made of them.

A reader is strict with the fields that it knows: each is there, of its type, down to the last value, and within its limits. Limits depend on
nothing that differs between two machines, such as the Unicode tables of their Python. Fields that it does not know are those of a later version:
ignored here, stored and handed on with the rest.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from peer.core.encoding import Value, check_types, decode_fields, encode
from peer.core.event import BODY_SIZE_MAX
from peer.core.hashing import HASH_SIZE
from peer.core.identity import ID_SIZE, EventId
from peer.core.run import Draft
from peer.errors import NotCanonicalError, RequestError

INDEX_MAX = 999_999
"""Six digits, in file names."""
COUNT_MAX = 2**48
TIME_MAX_NS = 2**63 - 1
PIECE_SIZES = (1 << 20, 1 << 21, 1 << 22)
FILE_NAME_BYTES_MAX = 255
LABEL_BYTES_MAX = 256
LIBRARY_BYTES_MAX = 1024
TOPIC_BYTES_MAX = 4096
TAG_BYTES_MAX = 128
VALUE_BYTES_MAX = 4096
"""Of a property or a setting."""
NOTE_BYTES_MAX = 16 * 1024
"""Of the text of an annotation, which may have several lines."""
PATH_BYTES_MAX = 4096
MEDIA_TYPE_BYTES_MAX = 128
EMBEDDED_MAX = 64
"""Metadata and attachments inside an MCAP file that its event lists."""
EMBEDDED_BYTES_MAX = 4096
"""Of all of these together, as they are encoded."""
EMBEDDED_FIELDS = 4
EMBEDDED_KINDS = ("metadata", "attachment")
TOPIC_FIELDS = 6
OLD_TOPIC_FIELDS = 5
"""Of events that say nothing of schema hashes."""
NO_HASH = b""
"""Of a channel without a schema, or of which an event does not say."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}\Z")

Fields = Mapping[str, Value]
TopicEntry = tuple[str, str, str, str, int, bytes]
"""Topic, schema name, schema encoding, message encoding, message count, BLAKE3 of the schema's data."""
EmbeddedEntry = tuple[str, str, str, int]
"""Kind, name, media type and size of something in an MCAP file that is no message."""

B = TypeVar("B")
Reader = Callable[[Fields], B]


class PoisonError(Exception):
    """A body that does not fit the schema of its type. The text says what is wrong with it."""


def read_fields(body: bytes) -> Fields:
    """The fields of a body. Their types are not checked. Raises `PoisonError`."""
    try:
        fields = decode_fields(body)
    except NotCanonicalError as error:
        raise PoisonError("not deterministic CBOR") from error
    if type(fields) is not dict:
        raise PoisonError("not a map")
    return fields


def make_draft(type_: str, fields: Mapping[str, object], reader: Reader[B], replaces: Sequence[EventId] = ()) -> Draft:
    """An event with these fields. Raises `RequestError` for what every peer would take for poison."""
    try:
        data = encode(fields)
        reader(read_fields(data))
    except (PoisonError, UnicodeEncodeError) as error:
        raise RequestError(f"this cannot be written to the history: {error}", fix="change it and try again") from error
    if len(data) > BODY_SIZE_MAX:
        raise RequestError("this does not fit an event", fix="use shorter names")
    return Draft(type_, data, tuple(replaces))


def is_tag(text: str) -> bool:
    """True for what may be a tag: a word without blanks in front or behind."""
    return is_line(text, TAG_BYTES_MAX) and bool(text) and text == text.strip(" ")


def is_key(text: str) -> bool:
    """True for what may name a property or a setting: 1 to 64 characters of `[A-Za-z0-9._-]`, the first no dot."""
    return _KEY.match(text) is not None


def is_line(text: str, bytes_max: int) -> bool:
    """True for text of one line that no terminal takes for a command: without the control characters of Unicode, which are fixed for ever."""
    if text.isascii():
        return len(text) <= bytes_max and text.isprintable()
    return len(text.encode()) <= bytes_max and not any(character < " " or "\x7f" <= character <= "\x9f" for character in text)


def need(condition: bool, text: str) -> None:  # noqa: FBT001  (reads like assert)
    """Raise `PoisonError` with this text unless it holds."""
    if not condition:
        raise PoisonError(text)


def need_fields(fields: Fields, names: tuple[str, ...], what: str, later: Collection[str] = ()) -> None:
    """Raise `PoisonError` unless all of `names`, in the order of the encoding, are there but for those that came `later`. More may be there."""
    if tuple(fields) == names:
        return
    try:
        check_types(fields)  # What is not known here is not looked at again.
    except NotCanonicalError as error:
        raise PoisonError("not deterministic CBOR") from error
    need(all(name in fields or name in later for name in names), f"not the fields of {what}")


def hash_field(value: Value) -> bytes:
    """An id or a hash."""
    if type(value) is not bytes or len(value) != ID_SIZE:
        raise PoisonError(f"an id or hash that is not {HASH_SIZE} bytes")
    return value


def event_field(value: Value) -> EventId:
    """The id of an event."""
    return EventId(hash_field(value))


def number_field(value: Value, most: int) -> int:
    """A whole number from 0 to `most`."""
    if type(value) is not int or not 0 <= value <= most:
        raise PoisonError("a number that is out of range")
    return value


def piece_size_field(value: Value) -> int:
    """One of the sizes that pieces have."""
    if type(value) is not int or value not in PIECE_SIZES:
        raise PoisonError("a piece size that is not 1, 2 or 4 MiB")
    return value


def span_fields(start_ns: Value, end_ns: Value) -> tuple[int, int]:
    """A first and last time, which are both there."""
    span = number_field(start_ns, TIME_MAX_NS), number_field(end_ns, TIME_MAX_NS)
    need(span[0] <= span[1], "something that ends before it starts")
    return span


def line_field(value: Value, bytes_max: int) -> str:
    """Text of one line."""
    if type(value) is not str or not is_line(value, bytes_max):
        raise PoisonError(f"text that is longer than {bytes_max} bytes or has control characters")
    return value


def text_field(value: Value, bytes_max: int) -> str:
    """Text that may have several lines, and tabs."""
    if type(value) is not str or len(value.encode()) > bytes_max or not all(is_line(line, bytes_max) for line in re.split("[\n\t]", value)):
        raise PoisonError(f"text that is longer than {bytes_max} bytes or has control characters")
    return value


def key_field(value: Value) -> str:
    """The name of a property or a setting."""
    if type(value) is not str or not is_key(value):
        raise PoisonError("a key that is not 1 to 64 characters of A-Z a-z 0-9 . _ -")
    return value


def tag_field(value: Value) -> str:
    """A tag."""
    if type(value) is not str or not is_tag(value):
        raise PoisonError("text that cannot be a tag")
    return value


def truth_field(value: Value) -> bool:
    """True or false."""
    if value is not True and value is not False:
        raise PoisonError("something that is neither true nor false")
    return value


def file_name_field(value: Value) -> str:
    """A file name as it was at its site; whether it may be a path is seen where it becomes one."""
    name = line_field(value, FILE_NAME_BYTES_MAX)
    need(bool(name), "a file without a name")
    return name


def topics_field(value: Value) -> list[TopicEntry]:
    """Topics of a chunk."""
    if type(value) is not list:
        raise PoisonError("topics that are no list")
    return [_topic(entry) for entry in value]


def embedded_entry(kind: str, name: str, media_type: str, size: int) -> EmbeddedEntry:
    """Something that is in an MCAP file, with what of its name and media type may stand in an event."""
    return kind, tame_line(name, LABEL_BYTES_MAX), tame_line(media_type, MEDIA_TYPE_BYTES_MAX), min(size, COUNT_MAX)


def embedded_that_fit(entries: Sequence[EmbeddedEntry]) -> list[EmbeddedEntry]:
    """The first of `entries`, as many as an event may list."""
    fitting = list(entries[:EMBEDDED_MAX])
    while len(encode([list(entry) for entry in fitting])) > EMBEDDED_BYTES_MAX:
        fitting.pop()
    return fitting


def tame_line(text: str, bytes_max: int) -> str:
    """`text` as one line that may stand in an event: cut off where it is too long, with a question mark for each character that may not."""
    line = "".join(character if is_line(character, 4) else "?" for character in text.encode(errors="replace").decode())
    return line.encode()[:bytes_max].decode(errors="ignore")


def embedded_field(value: Value) -> list[EmbeddedEntry]:
    """What is in an MCAP file beside messages."""
    if type(value) is list and not value:
        return []  # As nearly always.
    if type(value) is not list or len(value) > EMBEDDED_MAX or len(encode(value)) > EMBEDDED_BYTES_MAX:
        raise PoisonError("no list of what is in a file, or one that is too long")
    return [_embedded(entry) for entry in value]


def _topic(entry: Value) -> TopicEntry:
    if type(entry) is not list or len(entry) not in {OLD_TOPIC_FIELDS, TOPIC_FIELDS}:
        raise PoisonError("a topic without its six fields")
    topic, schema, schema_encoding, message_encoding, count = entry[:OLD_TOPIC_FIELDS]
    schema_hash = entry[-1] if len(entry) == TOPIC_FIELDS else NO_HASH
    return (
        line_field(topic, TOPIC_BYTES_MAX),
        line_field(schema, TOPIC_BYTES_MAX),
        line_field(schema_encoding, TOPIC_BYTES_MAX),
        line_field(message_encoding, TOPIC_BYTES_MAX),
        number_field(count, COUNT_MAX),
        schema_hash if schema_hash == NO_HASH and type(schema_hash) is bytes else hash_field(schema_hash),
    )


def _embedded(entry: Value) -> EmbeddedEntry:
    if type(entry) is not list or len(entry) != EMBEDDED_FIELDS:
        raise PoisonError("something in a file without its four fields")
    kind, name, media_type, size = entry
    if type(kind) is not str or kind not in EMBEDDED_KINDS:
        raise PoisonError("something in a file that is neither metadata nor an attachment")
    return kind, line_field(name, LABEL_BYTES_MAX), line_field(media_type, MEDIA_TYPE_BYTES_MAX), number_field(size, COUNT_MAX)
