"""The golden vectors against the code, and against an oracle of its own: a CBOR encoder of thirty lines, and the libraries used directly."""

import base64
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from nacl.signing import SigningKey, VerifyKey

from gossip.record import read_record
from peer.core.certificate import read_certificate
from peer.core.clock import next_hlc
from peer.core.encoding import decode, encode
from peer.core.group import check_join, read_genesis, read_invitation
from peer.core.hashing import event_hash, hash_bytes, sha256
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.run import read_run
from peer.errors import EventRejectedError, NotCanonicalError

FOLDER = Path(__file__).parents[2] / "vectors"


def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def head(major: int, number: int) -> bytes:
    """RFC 8949, section 3: three bits of major type, and the number in as few bytes as it takes."""
    if number < 24:
        return bytes([major << 5 | number])
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 256**size:
            return bytes([major << 5 | extra]) + number.to_bytes(size, "big")
    raise AssertionError(number)


def cbor(value: Any) -> bytes:
    """The oracle: RFC 8949, section 4.2.1, keys in the bytewise order of their encodings."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(cbor(item) for item in value)
    entries = sorted((cbor(key), cbor(item)) for key, item in value.items())
    return head(5, len(entries)) + b"".join(key + item for key, item in entries)


def meant(shown: Any) -> Any:
    """The value that a vector shows in JSON."""
    if isinstance(shown, list):
        return [meant(item) for item in shown]
    if not isinstance(shown, dict):
        return shown
    match list(shown.items()):
        case [("hex", data)]:
            return bytes.fromhex(data)
        case [("int", number)]:
            return int(number)
        case _:
            return {key: meant(item) for key, item in shown["map"]}


def unhex(*texts: str) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def all_runs() -> Iterator[tuple[bytes, dict[str, Any]]]:
    for log in (vectors("runs")["data"], vectors("runs")["control"]):
        for run in log["runs"]:
            yield bytes.fromhex(log["certificate"]), run


def test_the_vectors_are_what_their_script_writes() -> None:
    """Whoever changes a byte of the format changes a file under version control, and has to say why."""
    specification = importlib.util.spec_from_file_location("vectors_make", FOLDER / "make.py")
    assert specification
    assert specification.loader
    make = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(make)

    written = make.files()

    assert {path.name for path in FOLDER.glob("*.json")} >= set(written)
    for name, text in written.items():
        assert (FOLDER / name).read_text() == text


@pytest.mark.parametrize("vector", vectors("encoding")["accepted"], ids=lambda vector: vector["hex"][:24])
def test_a_value_has_its_one_encoding(vector: dict[str, Any]) -> None:
    value, data = meant(vector["value"]), bytes.fromhex(vector["hex"])

    assert cbor(value) == data
    assert encode(value) == data
    assert decode(data) == value


@pytest.mark.parametrize("vector", vectors("encoding")["refused"], ids=lambda vector: vector["why"])
def test_what_is_no_encoding_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(NotCanonicalError):
        decode(bytes.fromhex(vector["hex"]))


def test_there_are_vectors_enough() -> None:
    assert len(vectors("encoding")["accepted"]) >= 40
    assert len(vectors("encoding")["refused"]) >= 40
    assert len(vectors("runs")["refused"]) >= 8


@pytest.mark.parametrize("vector", vectors("keys")["keys"], ids=lambda vector: vector["label"])
def test_keys_and_signatures_are_those_of_rfc_8032(vector: dict[str, str]) -> None:
    seed, public, signature = unhex(vector["seed"], vector["public"], vector["signature_of_abc"])

    assert bytes(SigningKey(seed).verify_key) == KeyPair(seed).public == public
    assert SigningKey(seed).sign(b"abc").signature == KeyPair(seed).sign(b"abc") == signature


@pytest.mark.parametrize("vector", vectors("keys")["hashes"], ids=lambda vector: f"{len(vector['data']) // 2} bytes")
def test_hashes_are_what_the_libraries_say(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["data"])

    assert blake3(data).hexdigest() == hash_bytes(data).hex() == vector["blake3"]
    assert hashlib.sha256(data).hexdigest() == sha256(data).hex() == vector["sha256"]


def test_the_published_hash_of_nothing_is_ours() -> None:
    assert vectors("keys")["hashes"][0]["blake3"] == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_a_group_id_is_the_hash_of_the_genesis_record() -> None:
    vector = vectors("group")["genesis"]
    owners = unhex(*vector["owners"])
    record = cbor([1, vector["name"], owners, bytes.fromhex(vector["nonce"]), vector["created_ms"], {}])

    assert record.hex() == vector["record"]
    assert blake3(record).hexdigest() == vector["group_id"]
    genesis = read_genesis(record, GroupId(bytes.fromhex(vector["group_id"])))
    assert (genesis.name, list(genesis.owners), genesis.created_ms) == (vector["name"], owners, vector["created_ms"])


@pytest.mark.parametrize("vector", vectors("group")["certificates"], ids=["data", "control"])
def test_a_certificate_is_signed_by_the_peer(vector: dict[str, Any]) -> None:
    group = bytes.fromhex(vectors("group")["genesis"]["group_id"])
    peer, key, signature = unhex(vector["peer"], vector["key"], vector["signature"])
    signed = b"recmesh/log/v1\0" + cbor([1, group, key, vector["kind"], peer])

    assert signed.hex() == vector["signed"]
    assert SigningKey(bytes.fromhex(vectors("keys")["keys"][0]["seed"])).sign(signed).signature == signature
    assert cbor([1, group, key, vector["kind"], peer, signature]).hex() == vector["certificate"]
    assert blake3(signed).hexdigest() == vector["log"]
    certificate = read_certificate(bytes.fromhex(vector["certificate"]), GroupId(group))
    assert (certificate.peer, certificate.key, certificate.kind, certificate.log.hex()) == (peer, key, vector["kind"], vector["log"])


def test_events_are_arrays_with_the_fields_that_they_show() -> None:
    group = bytes.fromhex(vectors("group")["genesis"]["group_id"])
    logs = {vector["certificate"]: vector["log"] for vector in vectors("group")["certificates"]}
    seen = 0
    for certificate, run in all_runs():
        log = bytes.fromhex(logs[certificate.hex()])
        for event in run["events"]:
            previous, body, *refs = unhex(event["previous"], event["body"], *event["refs"])
            fields = [1, group, log, event["seq"], previous, int(event["hlc"]), event["type"], refs, len(body), blake3(body).digest()]
            assert cbor(fields).hex() == event["header"]
            assert blake3(cbor(fields), derive_key_context="recmesh event v1").hexdigest() == event["id"]
            assert event_hash(cbor(fields)).hex() == event["id"]
            seen += 1
    assert seen >= 6


def test_the_first_event_names_the_certificate_and_each_other_the_one_before() -> None:
    logs = {vector["certificate"]: vector["log"] for vector in vectors("group")["certificates"]}
    known: set[str] = set()
    for certificate, run in all_runs():
        for event in run["events"]:
            assert event["previous"] == logs[certificate.hex()] if event["seq"] == 0 else event["previous"] in known
            known.add(event["id"])


def test_runs_are_signed_by_the_log_and_read_by_the_code() -> None:
    group = GroupId(bytes.fromhex(vectors("group")["genesis"]["group_id"]))
    for certificate_bytes, run in all_runs():
        certificate = read_certificate(certificate_bytes, group)
        last = run["events"][-1]
        signed = b"recmesh/run/v1\0" + group + certificate.log + last["seq"].to_bytes(8, "big") + bytes.fromhex(last["id"])
        assert signed.hex() == run["signed"]
        VerifyKey(certificate.key).verify(signed, bytes.fromhex(run["signature"]))
        parts = [(bytes.fromhex(event["header"]), bytes.fromhex(event["body"])) for event in run["events"]]
        read = read_run(certificate, parts, bytes.fromhex(run["signature"]))
        assert [event.id.hex() for event in read.events] == [event["id"] for event in run["events"]]


@pytest.mark.parametrize("number", range(len(vectors("runs")["refused"])))
def test_a_wrong_run_is_refused_with_its_code(number: int) -> None:
    vector = vectors("runs")["refused"][number]
    group = GroupId(bytes.fromhex(vectors("group")["genesis"]["group_id"]))
    certificate = read_certificate(bytes.fromhex(vectors("runs")["data"]["certificate"]), group)

    with pytest.raises(EventRejectedError) as caught:
        read_run(certificate, [(bytes.fromhex(header), bytes.fromhex(body)) for header, body in vector["parts"]], bytes.fromhex(vector["signature"]))
    assert caught.value.code == vector["code"]


def test_an_invitation_is_base_32_of_its_fields_and_a_checksum() -> None:
    vector, genesis = vectors("group")["invitation"], vectors("group")["genesis"]
    group, inviter, member, seed = unhex(genesis["group_id"], vector["inviter"], vector["member"], vector["seed"])
    data = cbor([1, group, genesis["name"], inviter, member, vector["endpoint"], vector["role"], vector["expires_ms"], seed])
    text = "recmesh1" + base64.b32encode(data + blake3(data).digest()[:4]).decode().rstrip("=").lower()

    assert text == vector["text"]
    read = read_invitation(text)
    assert (read.group, read.inviter, read.member, read.endpoint, read.role, read.seed) == (group, inviter, member, vector["endpoint"], 2, seed)


def test_a_joiner_signs_group_peer_and_nonce() -> None:
    vector, group = vectors("group")["join"], bytes.fromhex(vectors("group")["genesis"]["group_id"])
    peer, nonce, signature = unhex(vector["peer"], vector["listener_nonce"], vector["signature"])
    key = SigningKey(bytes.fromhex(vectors("group")["invitation"]["seed"])).verify_key
    signed = b"recmesh/invitation/v1\0" + group + peer + nonce

    assert signed.hex() == vector["signed"]
    key.verify(signed, signature)
    assert check_join(bytes(key), GroupId(group), PeerId(peer), nonce, signature)


def test_a_peer_record_is_signed_by_its_peer() -> None:
    vector = vectors("group")["peer_record"]
    peer, data = unhex(vector["peer"], vector["data"])
    signed = cbor([1, peer, 3, ["https://alice.example:7850"], 1, 86_400])
    signature = SigningKey(bytes.fromhex(vectors("keys")["keys"][0]["seed"])).sign(b"recmesh/record/v1\0" + signed).signature

    assert cbor([signed, signature]) == data
    assert read_record(data).record.seq == vector["seq"]


@pytest.mark.parametrize("vector", vectors("clock"), ids=lambda vector: vector["next"])
def test_the_clock_is_the_greatest_of_three(vector: dict[str, Any]) -> None:
    own, seen, now = int(vector["own_last"]), int(vector["highest_seen"]), vector["now_ms"]

    expected = max(own + 1, now * 65536, min(seen, (now + 300_000) * 65536))

    assert int(vector["next"]) == expected == next_hlc(own, seen, now)
