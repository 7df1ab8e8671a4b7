"""The golden vectors of the wire against the code, and against an oracle: a CBOR encoder of twenty lines, and the libraries used directly."""

import json
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from nacl.signing import SigningKey, VerifyKey

from peer.errors import LimitExceededError, MalformedFrameError, RemoteProtocolError
from peer.sync.handshake import Handshake, LocalSide
from peer.sync.messages import Hello, decode_message, encode_message
from tests.samples import key_pair

FOLDER = Path(__file__).parents[2] / "vectors"
DIALLER, LISTENER = 0, 1


def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    extra, size = next((extra, size) for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)) if number < 256**size)
    return bytes([major << 5 | extra]) + number.to_bytes(size, "big")


def cbor(shown: Any) -> bytes:
    """RFC 8949, section 4.2.1, of a value as the vectors show it."""
    if isinstance(shown, bool):
        return b"\xf5" if shown else b"\xf4"
    if isinstance(shown, int):
        return head(0, shown)
    if isinstance(shown, str):
        return head(3, len(shown.encode())) + shown.encode()
    if isinstance(shown, list):
        return head(4, len(shown)) + b"".join(cbor(item) for item in shown)
    if "int" in shown:
        return head(0, int(shown["int"]))
    data = bytes.fromhex(shown["hex"])
    return head(2, len(data)) + data


ACCEPTED, REFUSED = vectors("messages")["accepted"], vectors("messages")["refused"]


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector["fields"][0])
def test_a_frame_is_the_name_and_the_fields_of_its_message(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["frame"])

    assert cbor(vector["fields"]) == frame
    message = decode_message(frame)
    assert encode_message(message) == frame
    assert type(message).__name__.lower() == vector["fields"][0].replace("_", "")


def test_every_message_of_the_protocol_has_a_vector() -> None:
    page = (Path(__file__).parents[3] / "peer" / "sync" / "PROTOCOL.md").read_text()
    table = page.split("| message | fields |")[1].split("\n\n")[0]
    names = {word for line in table.splitlines() for word in line.split("|")[1:2] for word in word.replace(",", " ").split()} - {"---"}

    assert {f"`{vector['fields'][0]}`" for vector in ACCEPTED} == names


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["why"])
def test_a_wrong_frame_is_refused_with_its_code(vector: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_message(bytes.fromhex(vector["frame"]))

    assert caught.value.code == vector["code"]
    assert vector["code"] in {MalformedFrameError.code, LimitExceededError.code}


def signed(vector: dict[str, Any], role: int) -> bytes:
    """What a proof covers, put together by hand: the peer ids and nonces are at fixed places behind the versions of a hello."""
    hellos = [bytes.fromhex(vector["dialler_hello"]), bytes.fromhex(vector["listener_hello"])]
    read = [decode_message(hello) for hello in hellos]
    assert all(isinstance(hello, Hello) for hello in read)
    peers, nonces = [hello[1] for hello in read], [hello[2] for hello in read]
    for hello, peer, nonce in zip(hellos, peers, nonces, strict=True):
        assert isinstance(peer, bytes)
        assert isinstance(nonce, bytes)
        assert b"\x58\x20" + peer + b"\x58\x20" + nonce in hello
    return b"".join(
        [
            b"recmesh/handshake/v1\0",
            bytes([role]),
            vector["version"].to_bytes(2, "big"),
            *peers,  # type: ignore[list-item]
            *nonces,  # type: ignore[list-item]
            bytes.fromhex(vector["channel_key"]),
            blake3(b"".join(hellos)).digest(),
        ]
    )


@pytest.mark.parametrize("vector", vectors("handshake"), ids=lambda vector: vector["what"])
def test_proofs_are_signatures_over_all_of_the_handshake(vector: dict[str, Any]) -> None:
    seeds = {entry["label"]: bytes.fromhex(entry["seed"]) for entry in vectors("keys")["keys"]}
    for role, label, name in ((DIALLER, "dialler", "alice"), (LISTENER, "listener", "bob")):
        proof = bytes.fromhex(vector[f"{label}_proof"])
        key = SigningKey(seeds[name])

        VerifyKey(bytes(key.verify_key)).verify(signed(vector, role), proof)
        assert key.sign(signed(vector, role)).signature == proof


@pytest.mark.parametrize("vector", vectors("handshake"), ids=lambda vector: vector["what"])
def test_the_version_is_the_highest_that_both_list(vector: dict[str, Any]) -> None:
    listed = []
    for side in ("dialler", "listener"):
        hello = decode_message(bytes.fromhex(vector[f"{side}_hello"]))
        assert isinstance(hello, Hello)
        listed.append(set(hello.versions))

    assert vector["version"] == max(listed[0] & listed[1])


def test_a_listener_accepts_the_hello_of_the_vector() -> None:
    vector = vectors("handshake")[0]
    frame = bytes.fromhex(vector["dialler_hello"])
    hello = decode_message(frame)
    assert isinstance(hello, Hello)
    listener = Handshake(LocalSide(key_pair("carol"), "carol", bytes(32), bytes(16), bytes(16)), None)

    listener.take_hello(hello, frame)

    assert listener.version == 1
