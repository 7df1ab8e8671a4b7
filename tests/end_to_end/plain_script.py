"""A member without a link: joins a group with an invitation, pulls and verifies all logs, pushes one event, and leaves, by signed requests alone.

Written by the page `peer/sync/PROTOCOL.md` (sections 1, 3 and 9); nothing of this project is imported. Usage: `plain_script.py INVITATION`. Prints a
line of JSON when all is pushed, waits for a line, leaves, and prints another.
"""

import base64
import hashlib
import http.client
import json
import os
import sys
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import blake3
import cbor2
import nacl.exceptions
import nacl.signing

TIMEOUT_S = 60
RUN_EVENTS_MAX, RUN_BYTES_MAX, BODY_MAX = 256, 256 * 1024, 65536
LATE_MS = 5 * 60 * 1000


def digest(data: bytes) -> bytes:
    """BLAKE3-256."""
    return blake3.blake3(data).digest()


def cbor(value: Any) -> bytes:
    """Deterministic CBOR, for what has no maps of several keys that differ in length."""
    return cbor2.dumps(value)


def decoded(data: bytes) -> Any:
    """Checks that `data` is the one way to write it."""
    value = cbor2.loads(data)
    assert sorted_cbor(value) == data, "not deterministic"
    return value


def sorted_cbor(value: Any) -> bytes:
    """The same, with keys of maps in the order of their encodings."""
    if isinstance(value, dict):
        pairs = sorted((sorted_cbor(key), sorted_cbor(item)) for key, item in value.items())
        assert len(pairs) < 24, "a map of this script is small"
        return bytes([0xA0 + len(pairs)]) + b"".join(key + item for key, item in pairs)
    if isinstance(value, list):
        head = cbor2.dumps([None] * len(value))
        return head[: len(head) - len(value)] + b"".join(sorted_cbor(item) for item in value)
    return cbor2.dumps(value)


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Ed25519."""
    try:
        nacl.signing.VerifyKey(key).verify(message, signature)
    except nacl.exceptions.BadSignatureError:
        raise AssertionError("a signature does not verify") from None


class Invitation(NamedTuple):
    """Section 3, Joining."""

    version: int
    group: bytes
    group_name: str
    inviter: bytes
    member: bytes
    endpoint: str
    role: int
    expires_ms: int
    seed: bytes


def read_invitation(text: str) -> Invitation:
    """From its line of text."""
    encoded = text.strip().removeprefix("recmesh1").upper()
    data = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    assert digest(data[:-4])[:4] == data[-4:], "a typo"
    return Invitation(*decoded(data[:-4]))


class RefusedError(Exception):
    """An answer that is none of the wanted."""


class Peer:
    """The member that is asked: requests of section 9."""

    def __init__(self, key: nacl.signing.SigningKey, member: bytes, endpoint: str) -> None:
        address = urlsplit(endpoint)
        assert address.scheme == "http", "this script is for loopback"
        self.key, self.member = key, member
        self.http = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
        self.nonce = ""

    @property
    def own_id(self) -> bytes:
        """The public half of our key."""
        return bytes(self.key.verify_key)

    def ask(self, method: str, target: str, frames: Any = None) -> list[Any]:
        """The messages in the answer. `frames` are messages, or what makes them for a nonce."""
        for _ in range(3):
            body = b""
            if frames is not None:
                made = frames(self.nonce) if callable(frames) else frames
                body = cbor([cbor(frame) for frame in made])
            self.http.request(method, target, body or None, self.signed(method, target, body))
            answer = self.http.getresponse()
            data = answer.read()
            self.nonce = answer.headers.get("Recmesh-Nonce", "")
            if answer.status != 401:
                break
        if answer.status != 200:
            raise RefusedError(answer.status, json.loads(data)["code"])
        return [decoded(frame) for frame in decoded(data)]

    def signed(self, method: str, target: str, body: bytes) -> dict[str, str]:
        """RFC 9421, by hand."""
        path, _, query = target.partition("?")
        headers = {"Recmesh-Destination": self.member.hex()}
        covered = [("@method", method), ("@path", path), ("@query", f"?{query}"), ("recmesh-destination", self.member.hex())]
        if body:
            headers["Content-Digest"] = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
            covered.append(("content-digest", headers["Content-Digest"]))
        names = " ".join(f'"{name}"' for name, _ in covered)
        settings = f'created={int(time.time())};keyid="{self.own_id.hex()}";alg="ed25519";nonce="{self.nonce}";tag="recmesh/http/v1"'
        lines = [f'"{name}": {value}' for name, value in covered]
        base = "\n".join([*lines, f'"@signature-params": ({names});{settings}'])
        signature = base64.b64encode(self.key.sign(base.encode()).signature).decode()
        return {**headers, "Signature-Input": f"recmesh=({names});{settings}", "Signature": f"recmesh=:{signature}:"}


class Log(NamedTuple):
    """A log that was pulled."""

    key: bytes
    peer: bytes
    kind: int
    headers: list[list[Any]]
    """Of its events, in order."""
    bodies: list[bytes]
    ids: list[bytes]


def read_certificate(group: bytes, log: bytes, data: bytes) -> Log:
    """Section 1: whose log it is."""
    version, owner, key, kind, peer, signature = decoded(data)
    signed = b"recmesh/log/v1\0" + cbor([version, owner, key, kind, peer])
    assert (version, owner, digest(signed)) == (1, group, log)
    verify(peer, signed, signature)
    return Log(key, peer, kind, [], [], [])


def take_run(group: bytes, log: bytes, held: Log, signature: bytes, events: list[list[bytes]]) -> None:
    """Section 1: a run counts as a whole."""
    assert 1 <= len(events) <= RUN_EVENTS_MAX
    assert sum(len(header) + len(body) for header, body in events) <= RUN_BYTES_MAX
    ids = [blake3.blake3(header, derive_key_context="recmesh event v1").digest() for header, _ in events]
    first_seq = len(held.ids)
    last_seq = first_seq + len(events) - 1
    verify(held.key, b"recmesh/run/v1\0" + group + log + last_seq.to_bytes(8, "big") + ids[-1], signature)
    for (data, body), event in zip(events, ids, strict=True):
        header = decoded(data)
        version, owner, of_log, seq, previous, hlc, kind, refs, size, hash_ = header
        assert (version, owner, of_log, seq) == (1, group, log, len(held.ids))
        assert previous == (held.ids[-1] if held.ids else log)
        assert not held.headers or hlc > held.headers[-1][5]
        assert len(data) <= 1024
        assert len(kind) <= 64
        assert len(refs) <= 16
        assert (len(body), digest(body)) == (size, hash_)
        assert size <= BODY_MAX
        held.headers.append(header)
        held.bodies.append(body)
        held.ids.append(event)


def pull(peer: Peer, group: bytes) -> dict[bytes, Log]:
    """All logs of the group, verified to their tips."""
    logs: dict[bytes, Log] = {}
    for name, of_group, _, _, entries in peer.ask("GET", f"/sync/v1/groups/{group.hex()}/status"):
        assert (name, of_group) == ("have", group)
        for log, certificate, tips in entries:
            assert len(tips) == 1, "a fork, which this script cannot take"
            held = logs[log] = read_certificate(group, log, certificate)
            (height, tip) = tips[0]
            while len(held.ids) < height:
                before = len(held.ids)
                after = held.ids[-1].hex() if held.ids else ""
                for message in peer.ask("GET", f"/sync/v1/groups/{group.hex()}/events?log={log.hex()}&after={after}"):
                    if message[0] == "events":
                        _, _, of_log, signature, events = message
                        assert of_log == log
                        take_run(group, log, held, signature, events)
                assert len(held.ids) > before, "nothing comes"
            assert held.ids[height - 1] == tip
    return logs


def write(key: nacl.signing.SigningKey, group: bytes, logs: dict[bytes, Log], kind: str, content: dict[str, Any]) -> list[Any]:
    """The frames that bring one event in a new log of ours."""
    log_key = nacl.signing.SigningKey.generate()
    signed = b"recmesh/log/v1\0" + cbor([1, group, bytes(log_key.verify_key), 0, bytes(key.verify_key)])
    certificate = cbor([1, group, bytes(log_key.verify_key), 0, bytes(key.verify_key), key.sign(signed).signature])
    log = digest(signed)
    now_ms = time.time_ns() // 1_000_000
    seen = max((header[5] for held in logs.values() for header in held.headers), default=0)
    hlc = max(now_ms << 16, min(seen, now_ms + LATE_MS << 16))
    body = sorted_cbor(content)
    header = cbor([1, group, log, 0, log, hlc, kind, [], len(body), digest(body)])
    event = blake3.blake3(header, derive_key_context="recmesh event v1").digest()
    signature = log_key.sign(b"recmesh/run/v1\0" + group + log + bytes(8) + event).signature
    return [["have", group, False, False, [[log, certificate, [[1, event]]]]], ["events", group, log, signature, [[header, body]]]]


def main() -> None:
    """Join, pull, push, leave."""
    invitation = read_invitation(sys.argv[1])
    key, group = nacl.signing.SigningKey(os.urandom(32)), invitation.group
    peer = Peer(key, invitation.member, invitation.endpoint)
    where = f"/sync/v1/groups/{group.hex()}"

    hello = ["hello", [1], peer.own_id, os.urandom(32), os.urandom(16), os.urandom(16), "script", b""]
    (theirs,) = peer.ask("POST", "/sync/v1/handshake", [hello])
    assert (theirs[0], theirs[2]) == ("hello", invitation.member)
    assert refusal(peer, f"{where}/status") == (403, "not_a_member"), "a stranger was told something"

    invited = nacl.signing.SigningKey(invitation.seed)

    def join(nonce: str) -> list[Any]:
        signature = invited.sign(b"recmesh/invitation/v1\0" + group + peer.own_id + digest(nonce.encode())).signature
        return [["join", group, bytes(invited.verify_key), signature, "script"]]

    ((name, joined, genesis),) = peer.ask("POST", f"{where}/join", join)
    assert (name, joined, digest(genesis)) == ("joined", group, group)

    logs = pull(peer, group)
    types = [(kind, event) for held in logs.values() for (*_, kind, _, _, _), event in zip(held.headers, held.ids, strict=True)]
    recording = next(event for kind, event in types if kind == "recording.create")
    frames = write(key, group, logs, "recording.tag", {"recording": recording, "tag": "by-hand", "present": True})
    answer = peer.ask("POST", f"{where}/events", frames)
    assert [message for message in answer if message[0] == "rejected"] == []
    counted = {kind: sum(each == kind for each, _ in types) for kind, _ in types}
    report({"peer_id": peer.own_id.hex(), "logs": len(logs), "events": len(types), "types": counted, "genesis": decoded(genesis)[1]})

    sys.stdin.readline()
    assert peer.ask("POST", f"{where}/leave") == []
    assert refusal(peer, f"{where}/status") == (403, "not_a_member"), "who has left is told something"
    report({"left": True})


def refusal(peer: Peer, target: str) -> Any:
    """Status and code of an answer that refuses."""
    try:
        peer.ask("GET", target)
    except RefusedError as error:
        return error.args
    return None


def report(what: dict[str, Any]) -> None:
    """A line for whoever started this."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
