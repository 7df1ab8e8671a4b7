"""Damage that a test does to a file, as a person, a program or a disk would."""

import os
from pathlib import Path


def flip_byte(path: Path, offset: int = 0, *, hidden: bool = False) -> None:
    """Let one byte be another one, in place. `hidden` sets the time of modification back.

    A file system counts time in steps of some milliseconds: this goes on until the file looks changed, as it does to whoever comes later.
    """
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), offset)
    path.chmod(before.st_mode)
    while path.stat().st_ctime_ns == before.st_ctime_ns or path.stat().st_mtime_ns == before.st_mtime_ns:
        os.utime(path)
    if hidden:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
