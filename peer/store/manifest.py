"""The manifest of a backup: which files belong to it, with size and BLAKE3, and a hash over all of that, so that a change of it is noticed, too."""

import json
from pathlib import PurePosixPath
from typing import NamedTuple

from peer.core.hashing import hash_bytes
from peer.core.identity import ID_SIZE, PeerId

MANIFEST_FILE = "backup.json"
MANIFEST_VERSION = 1


class BackupFile(NamedTuple):
    """A file of a backup."""

    name: str
    """Relative, with slashes."""
    size: int
    blake3: bytes


class Manifest(NamedTuple):
    """What a backup is made of."""

    peer: PeerId
    created_ms: int
    files: tuple[BackupFile, ...]

    def to_bytes(self) -> bytes:
        """One JSON document, the hash over the rest in it."""
        content: dict[str, object] = {
            "version": MANIFEST_VERSION,
            "peer_id": self.peer.hex(),
            "created_ms": self.created_ms,
            "files": [{"name": each.name, "size_bytes": each.size, "blake3": each.blake3.hex()} for each in self.files],
        }
        return (json.dumps({**content, "blake3": _hash(content)}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """The manifest in `data`. Raises `ValueError`, `KeyError` or `TypeError` if it is not whole."""
        content = json.loads(data)
        if content.pop("blake3") != _hash(content):
            raise ValueError("the manifest was changed")
        if content["version"] != MANIFEST_VERSION:
            raise ValueError("a manifest of another version")
        files = tuple(BackupFile(_name(each["name"]), each["size_bytes"], bytes.fromhex(each["blake3"])) for each in content["files"])
        peer = bytes.fromhex(content["peer_id"])
        if len(peer) != ID_SIZE:
            raise ValueError("no peer id")
        return cls(PeerId(peer), content["created_ms"], files)


def _hash(content: object) -> str:
    return hash_bytes(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hex()


def _name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("a file outside the backup")
    return name
