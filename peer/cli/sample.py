"""A small MCAP file, written by hand: the demonstration needs a recording and must not need the program that usually writes one."""

import json
import os
import struct
from pathlib import Path

from materializer.mcap_format import FRAME, MAGIC
from materializer.mcap_format import MESSAGE as MESSAGE_HEADER

HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, DATA_END = 1, 2, 3, 4, 5, 15
POSE, CAMERA = 1, 2
FRAME_SIZE = 64 * 1024
FRAME_INTERVAL_NS = 33_333_333


def write_sample(path: Path, size: int, start_ns: int) -> int:
    """Write a recording of about `size` bytes that begins at `start_ns`: poses as JSON, and frames of noise. How many messages it has."""
    count = 0
    with path.open("xb") as file:
        file.write(MAGIC)
        file.write(_record(HEADER, _text("") + _text("recmesh demo")))
        schema = json.dumps({"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}}).encode()
        file.write(_record(SCHEMA, struct.pack("<H", POSE) + _text("demo.Pose") + _text("jsonschema") + _data(schema)))
        file.write(_record(CHANNEL, struct.pack("<HH", POSE, POSE) + _text("/pose") + _text("json") + _data(b"")))
        file.write(_record(CHANNEL, struct.pack("<HH", CAMERA, 0) + _text("/camera") + _text("noise") + _data(b"")))
        for number in range(max(1, size // FRAME_SIZE)):
            time_ns = start_ns + number * FRAME_INTERVAL_NS
            file.write(_message(POSE, number, time_ns, json.dumps({"x": number / 10, "y": -number / 10}).encode()))
            file.write(_message(CAMERA, number, time_ns, os.urandom(FRAME_SIZE)))
            count += 2
        file.write(_record(DATA_END, struct.pack("<I", 0)))
        file.write(_record(FOOTER, struct.pack("<QQI", 0, 0, 0)))
        file.write(MAGIC)
    return count


def _message(channel: int, sequence: int, time_ns: int, data: bytes) -> bytes:
    return _record(MESSAGE, MESSAGE_HEADER.pack(channel, sequence, time_ns, time_ns) + data)


def _record(opcode: int, content: bytes) -> bytes:
    return FRAME.pack(opcode, len(content)) + content


def _text(text: str) -> bytes:
    return _data(text.encode())


def _data(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data
