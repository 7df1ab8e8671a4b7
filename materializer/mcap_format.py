"""The framing of MCAP files, for all that reads or writes them: https://mcap.dev/spec. Integers are little-endian."""

import struct

MAGIC = b"\x89MCAP0\r\n"
"""The first bytes of a file, and the last ones of one that was closed."""

FRAME = struct.Struct("<BQ")
"""What stands before the content of each record: its opcode and its length."""
FRAME_SIZE = FRAME.size

MESSAGE = struct.Struct("<HIQQ")
"""What stands before the bytes of a message: channel, sequence, log time and publish time."""
MESSAGE_HEADER_SIZE = MESSAGE.size

CHUNK = struct.Struct("<QQQII")
"""What stands before the name of a chunk's compression: first and last log time, size of its records, their CRC, length of that name."""

FOOTER_SIZE = FRAME_SIZE + 20
"""Of the last record, whole."""
