import base64
import json
import math
import random
import re
import struct
from collections import Counter
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader as make_mcap_reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from materializer.mcap_messages import Message
from materializer.mcap_records import ChannelFacts, SchemaFacts
from materializer.readable import Reading
from materializer.ros_messages import NotReadableError, make_reader
from tests.mcap_samples import REAL_RECORDINGS

POSE = b"""# Where it is.
int32 LIMIT=5
string NAME="a # b"
std_msgs/Header header  # of this
Point position
float64[3] covariance
uint8[] image
string<=5[<=3] words
bool[] flags
byte one 7
int16 two
uint64 large
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: lab_msgs/Point
float32 x
float32 y
"""


def reader(text: bytes = POSE, name: str = "lab_msgs/msg/Pose") -> Any:
    return make_reader(name, text)


def oracle(text: bytes, name: str) -> Any:
    """A reader of somebody else's, as plain values."""
    store = get_typestore(Stores.EMPTY)
    types: dict[str, Any] = {}
    parts = re.split(r"^=+\nMSG: (\S+)$", text.decode(), flags=re.MULTILINE)
    for each, part in [(name, parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]:
        package, _, rest = each.partition("/")
        types |= get_types_from_msg(part, f"{package}/msg/{rest.removeprefix('msg/')}")
    types |= get_types_from_msg("int32 sec\nuint32 nanosec", "builtin_interfaces/msg/Time")
    store.register(types)
    return store


OTHERWISE = {"byte_array_value"}
"""Fields that the other reader gives in a form of its own."""


def without(value: Any) -> Any:
    """A JSON value without these."""
    if isinstance(value, dict):
        return {name: without(each) for name, each in value.items() if name not in OTHERWISE}
    return [without(each) for each in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """What the other reader gives, as JSON has it; it has constants, too."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.name[0].islower() and field.name not in OTHERWISE}
    if hasattr(value, "dtype"):
        return base64.b64encode(value.tobytes()).decode() if value.dtype == "uint8" else [plain(each) for each in value.tolist()]
    if isinstance(value, list):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@pytest.mark.parametrize("little", [True, False])
def test_a_message_is_read_as_another_reader_reads_it(*, little: bool) -> None:
    store = oracle(POSE, "lab_msgs/msg/Pose")
    types = store.types
    message = types["lab_msgs/msg/Pose"](
        header=types["std_msgs/msg/Header"](stamp=types["builtin_interfaces/msg/Time"](sec=-3, nanosec=7), frame_id="maß"),
        position=types["lab_msgs/msg/Point"](x=0.5, y=-2.0),
        covariance=np.array([1.0, 2.5, -1e300]),
        image=np.array([1, 2, 255], dtype=np.uint8),
        words=["a", "", "bc"],
        flags=np.array([True, False], dtype=np.bool_),
        one=7,
        two=-2,
        large=2**64 - 1,
    )
    data = bytes(store.serialize_cdr(message, "lab_msgs/msg/Pose", little_endian=little))

    assert reader()(data) == plain(store.deserialize_cdr(data, "lab_msgs/msg/Pose"))
    assert reader()(data)["words"] == ["a", "", "bc"]
    assert json.loads(json.dumps(reader()(data)))["large"] == 2**64 - 1


def test_numbers_that_json_does_not_have_are_texts() -> None:
    read = make_reader("lab_msgs/msg/Three", b"float64[] values")
    data = b"\0\1\0\0" + struct.pack("<I4x3d", 3, math.inf, -math.inf, math.nan)

    assert read(data) == {"values": ["Infinity", "-Infinity", "NaN"]}


MANY = b"\0\1\0\0" + struct.pack("<I", 99_000) + bytes(10_000_000)
"""An array of many, which are all zero."""


@pytest.mark.parametrize(
    ("text", "data", "why"),
    [
        (b"string data", b"\0\1\0\0\xff\xff\xff\xff", "shorter"),
        (b"float64[] data", b"\0\1\0\0\xff\xff\xff\xff", "values"),
        (b"float64[1000000000] data", b"\0\1\0\0", "values"),
        (b"Empty[1000000000] data\n===\nMSG: lab_msgs/Empty\nuint8[0] none\n", b"\0\1\0\0", "no place"),
        (b"X[] data\n===\nMSG: lab_msgs/X\n" + b"".join(b"uint8[] f%d\n" % i for i in range(1000)), MANY, "values"),
        (b"X[] data\n===\nMSG: lab_msgs/X\nuint8 " + b"x" * 256 + b"\n", MANY, "too long"),
        (b"uint8[" + b"9" * 5000 + b"] data", b"\0\1\0\0", "too long"),
        (b"Loop data\n===\nMSG: lab_msgs/Loop\nLoop data\n", b"\0\1\0\0" + bytes(100), "deep"),
        (b"Nothing data", b"\0\1\0\0", "not defined"),
        (b"int8 data", b"\0\1\0\0" + bytes(100), "longer"),
        (b"int8 data", b"\0\3\0\0\0", "plain CDR"),
        (b"int8 data", b"", "plain CDR"),
        (b"wstring data", b"\0\1\0\0" + bytes(100), "wide"),
    ],
)
def test_what_does_not_hold_together_is_refused_before_it_takes_long(text: bytes, data: bytes, why: str) -> None:
    with pytest.raises(NotReadableError, match=why):
        make_reader("lab_msgs/msg/Hostile", text)(data)


def test_a_short_message_is_no_long_document() -> None:
    """Each of its values takes a byte of it, and the name of none is long."""
    name = "n" * 255
    read = make_reader("lab_msgs/msg/Long", f"X[] data\n===\nMSG: lab_msgs/X\nuint8 {name}\n".encode())
    data = b"\0\1\0\0" + struct.pack("<I", 1000) + bytes(1000)
    assert len(json.dumps(read(data))) < 300 * len(data)


def test_any_bytes_are_read_or_refused() -> None:
    chance = random.Random(4)
    read = reader()
    for _ in range(2000):
        with_header = b"\0\1\0\0" + chance.randbytes(chance.randint(0, 200)).replace(b"\xff", b"\0")
        try:
            json.dumps(read(with_header), allow_nan=False)
        except NotReadableError:
            continue
    for _ in range(500):
        text = bytearray(POSE)
        text[chance.randrange(len(text))] = chance.randrange(256)
        try:
            make_reader("lab_msgs/msg/Pose", bytes(text))(bytes(300))
        except NotReadableError:
            continue


def message(data: bytes, encoding: str, schema: SchemaFacts | None) -> Message:
    return Message(ChannelFacts("/topic", encoding, {}, schema), 0, 0, 0, data)


def test_a_number_that_json_cannot_have_is_not_passed_on() -> None:
    found = Reading().document(message(b'{"a": 1e999}', "json", None))
    assert found.encoding == "base64"
    assert "too large" in found.note


def test_what_cannot_be_read_is_given_as_bytes_with_a_note() -> None:
    text = SchemaFacts("std_msgs/msg/String", "ros2msg", b"string data")
    read = Reading().document

    assert read(message(b'{"a": [1, null]}', "json", None))[:2] == ("json", {"a": [1, None]})
    assert read(message(b"\0\1\0\0\3\0\0\0hi\0", "cdr", text))[:2] == ("json", {"data": "hi"})
    for data, encoding in ((b"{", "json"), (b"NaN", "json"), (b"[" * 100_000, "json"), (b"\xff", "json"), (b"\0\1\0\0\3", "cdr")):
        found = read(message(data, encoding, text))
        assert (found.encoding, found.data, bool(found.note)) == ("base64", base64.b64encode(data).decode(), True)
    assert read(message(b"\1\2", "protobuf", None)) == ("base64", "AQI=", "")
    assert read(message(b"\1\2", "cdr", SchemaFacts("a/b", "ros2msg", b"what is this?"))).note


@pytest.mark.needs("the recordings of a real recorder")
@pytest.mark.parametrize("name", ["talker", "topics_and_services", *(f"wbag_{number}" for number in range(5))])
def test_real_messages_are_read_as_another_reader_reads_them(name: str) -> None:
    path = REAL_RECORDINGS / f"{name}.mcap"
    if not path.exists():
        pytest.skip("the recordings of a real recorder are not here")
    counts: Counter[str] = Counter()
    reading = Reading()
    with path.open("rb") as file:
        for schema, channel, found in make_mcap_reader(file).iter_messages():
            assert schema is not None
            facts = SchemaFacts(schema.name, schema.encoding, schema.data)
            shown = reading.document(message(found.data, channel.message_encoding, facts))
            counts[shown.encoding] += 1
            if shown.encoding == "json" and counts["json"] <= 50 and "/msg/" in schema.name:
                store = oracle(schema.data, schema.name)
                assert without(shown.data) == plain(store.deserialize_cdr(found.data, schema.name))

    assert counts["json"] > 0
