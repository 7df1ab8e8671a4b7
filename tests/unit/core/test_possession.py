"""Proofs of possession: the vectors, computed here by the page alone, and that a proof is good for one question only."""

import json
from pathlib import Path
from typing import Any

import blake3
import pytest

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.possession import Question, prove

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "possession.json").read_text())
ASKED = Question(GroupId(b"g" * 32), EventId(b"r" * 32), b"o" * 32, PeerId(b"a" * 32), PeerId(b"p" * 32))
BLOB = BlobId(b"b" * 32)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["piece"]))
def test_the_page_gives_the_proofs_of_the_vectors(vector: dict[str, Any]) -> None:
    named = ("context", "group", "recording", "round_id", "asker", "prover", "blob")
    key = blake3.blake3(b"".join(bytes.fromhex(vector[name]) for name in named) + vector["piece"].to_bytes(8, "big")).digest()

    assert bytes.fromhex(vector["context"]) == b"recmesh/possession/v1\0"
    assert blake3.blake3(bytes.fromhex(vector["data"]), key=key).hexdigest() == vector["proof"]


@pytest.mark.parametrize(
    ("question", "blob", "piece", "data"),
    [
        (ASKED._replace(group=GroupId(b"x" * 32)), BLOB, 1, b"data"),
        (ASKED._replace(recording=EventId(b"x" * 32)), BLOB, 1, b"data"),
        (ASKED._replace(round_id=b"x" * 32), BLOB, 1, b"data"),
        (ASKED._replace(asker=PeerId(b"x" * 32)), BLOB, 1, b"data"),
        (ASKED._replace(prover=PeerId(b"x" * 32)), BLOB, 1, b"data"),
        (ASKED, BlobId(b"x" * 32), 1, b"data"),
        (ASKED, BLOB, 2, b"data"),
        (ASKED, BLOB, 1, b"dat"),
    ],
)
def test_a_proof_is_of_use_for_nothing_but_what_was_asked(question: Question, blob: BlobId, piece: int, data: bytes) -> None:
    assert prove(question, blob, piece, data) != prove(ASKED, BLOB, 1, b"data")
