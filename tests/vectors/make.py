"""Writes the golden vectors beside this file: what another implementation can check itself against. The same bytes at every run.

`python tests/vectors/make.py` writes; the tests compare what is here with what it would write. Vectors change only with the format's version.
"""

import hashlib
import json
import runpy
import sys
from pathlib import Path

from gossip.record import PeerRecord, Reachability, sign_record
from peer.core.certificate import CERTIFICATE_CONTEXT, LogKind, certify
from peer.core.clock import next_hlc
from peer.core.control import Role, invite, member_set
from peer.core.encoding import decode, encode
from peer.core.event import Event, link_event
from peer.core.frontier import Tip
from peer.core.group import INVITATION_CONTEXT, Genesis, Invitation, join_bytes
from peer.core.hashing import EVENT_CONTEXT, hash_bytes, sha256
from peer.core.identity import BlobId, EventId, GroupId, KeyPair
from peer.core.possession import POSSESSION_CONTEXT, Question, prove
from peer.core.run import RUN_CONTEXT, Draft, Run, signed_bytes, write_run
from peer.sync import messages
from peer.sync.handshake import HANDSHAKE_CONTEXT, NO_CHANNEL_KEY, Handshake, LocalSide

FOLDER = Path(__file__).parent
START_MS = 1_700_000_000_000

_VALUES = runpy.run_path(str(FOLDER / "encodings.py"))
ACCEPTED: list[object] = _VALUES["ACCEPTED"]
REFUSED: dict[str, str] = _VALUES["REFUSED"]


def seed(label: str) -> bytes:
    """The seed of the key that a vector calls `label`."""
    return hashlib.sha256(b"recmesh test vector " + label.encode()).digest()


ALICE, BOB, ALICE_LOG, ALICE_CONTROL, INVITE_KEY = (
    KeyPair(seed(label)) for label in ("alice", "bob", "alice data log", "alice control log", "invitation")
)
GENESIS = Genesis("field-tests", (ALICE.peer_id, BOB.peer_id), sha256(b"nonce"), START_MS, {})
GROUP = GENESIS.group
DATA = certify(ALICE, GROUP, ALICE_LOG.public, LogKind.DATA)
CONTROL = certify(ALICE, GROUP, ALICE_CONTROL.public, LogKind.CONTROL)


def clock(offset_ms: int) -> int:
    """A clock value that many milliseconds after the start."""
    return (START_MS + offset_ms) << 16


def shown(value: object) -> object:
    """A CBOR value in JSON: bytes as an object with `hex`, integers beyond 53 bits as one with `int`."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {"map": [[key, shown(item)] for key, item in value.items()]}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return {"int": str(value)}
    return value


def encoding() -> object:
    """Values with their one encoding, and bytes that are none."""
    return {
        "accepted": [{"value": shown(value), "hex": encode(value).hex()} for value in ACCEPTED],
        "refused": [{"why": why, "hex": data} for why, data in REFUSED.items()],
    }


def keys() -> object:
    """Seeds, public keys and signatures (RFC 8032), hashes, and contexts."""
    return {
        "keys": [
            {
                "label": label,
                "seed": seed(label).hex(),
                "public": KeyPair(seed(label)).public.hex(),
                "signature_of_abc": KeyPair(seed(label)).sign(b"abc").hex(),
            }
            for label in ("alice", "bob", "alice data log", "alice control log", "invitation")
        ],
        "hashes": [{"data": data.hex(), "blake3": hash_bytes(data).hex(), "sha256": sha256(data).hex()} for data in (b"", b"abc", bytes(2000))],
        "contexts": {
            "event_id": EVENT_CONTEXT,
            "run": RUN_CONTEXT.hex(),
            "certificate": CERTIFICATE_CONTEXT.hex(),
            "invitation": INVITATION_CONTEXT.hex(),
        },
    }


def group() -> object:
    """A genesis record and its id, certificates, an invitation, a peer record."""
    invitation = Invitation(
        GROUP, GENESIS.name, ALICE.peer_id, BOB.peer_id, "https://bob.example:7850", Role.WRITER, START_MS + 86_400_000, INVITE_KEY.seed
    )
    record = sign_record(ALICE, PeerRecord(ALICE.peer_id, 3, ("https://alice.example:7850",), Reachability.DIALLABLE, 86_400))
    nonce = sha256(b"listener nonce")
    return {
        "genesis": {
            "name": GENESIS.name,
            "owners": [owner.hex() for owner in GENESIS.owners],
            "nonce": GENESIS.nonce.hex(),
            "created_ms": GENESIS.created_ms,
            "record": GENESIS.to_bytes().hex(),
            "group_id": GROUP.hex(),
        },
        "certificates": [
            {
                "peer": each.peer.hex(),
                "key": each.key.hex(),
                "kind": int(each.kind),
                "signed": each.signed.hex(),
                "signature": each.signature.hex(),
                "certificate": each.to_bytes().hex(),
                "log": each.log.hex(),
            }
            for each in (DATA, CONTROL)
        ],
        "invitation": {
            "inviter": invitation.inviter.hex(),
            "member": invitation.member.hex(),
            "endpoint": invitation.endpoint,
            "role": int(invitation.role),
            "expires_ms": invitation.expires_ms,
            "seed": invitation.seed.hex(),
            "text": invitation.to_text(),
        },
        "join": {
            "peer": BOB.peer_id.hex(),
            "listener_nonce": nonce.hex(),
            "signed": join_bytes(GROUP, BOB.peer_id, nonce).hex(),
            "signature": INVITE_KEY.sign(join_bytes(GROUP, BOB.peer_id, nonce)).hex(),
        },
        "peer_record": {"peer": ALICE.peer_id.hex(), "seq": 3, "data": record.data.hex()},
    }


def event_shown(event: Event) -> dict[str, object]:
    """An event, field by field and as it travels."""
    header = event.header
    return {
        "seq": header.seq,
        "previous": header.previous.hex(),
        "hlc": str(header.hlc),
        "type": header.type,
        "refs": [ref.hex() for ref in header.refs],
        "header": event.header_bytes.hex(),
        "body": event.body.hex(),
        "id": event.id.hex(),
    }


def run_shown(run: Run) -> dict[str, object]:
    """A run as it travels, with what its signature covers."""
    last = run.last
    return {
        "events": [event_shown(event) for event in run.events],
        "signed": signed_bytes(GROUP, run.log, last.header.seq, last.id).hex(),
        "signature": run.signature.hex(),
    }


def runs() -> object:
    """The beginning of a data log and of a control log, a fork, and what is wrong with runs."""
    drafts = [
        Draft("recording.create", encode({"name": f"run-{number}", "machine": "robot", "created_ns": number, "profile": "ros2"}))
        for number in range(3)
    ]
    first = write_run(ALICE_LOG, DATA, None, [(draft, clock(number)) for number, draft in enumerate(drafts)])
    tag = Draft("recording.tag", encode({"recording": first.first.id, "tag": "outdoor", "present": True}), (first.last.id,))
    second = write_run(ALICE_LOG, DATA, first.last, [(tag, clock(9))])
    fork = write_run(ALICE_LOG, DATA, first.events[0], [(drafts[0], clock(5))])
    control = write_run(
        ALICE_CONTROL,
        CONTROL,
        None,
        [
            (invite(INVITE_KEY.public, Role.WRITER, START_MS + 86_400_000), clock(1)),
            (member_set(KeyPair(seed("carol")).peer_id, "carol", Role.WRITER, invite=INVITE_KEY.public), clock(2)),
        ],
    )
    return {
        "data": {"certificate": DATA.to_bytes().hex(), "runs": [run_shown(first), run_shown(second), run_shown(fork)]},
        "control": {"certificate": CONTROL.to_bytes().hex(), "runs": [run_shown(control)]},
        "refused": _refused_runs(first),
    }


def _refused_runs(good: Run) -> list[object]:
    parts = [(event.header_bytes.hex(), event.body.hex()) for event in good.events]
    stuck = link_event(group=GROUP, log=DATA.log, seq=1, previous=good.first.id, hlc=good.first.header.hlc, type_="note", refs=[], body=b"")
    stuck_signature = ALICE_LOG.sign(signed_bytes(GROUP, DATA.log, 1, stuck.id))
    orphan = link_event(group=GROUP, log=DATA.log, seq=0, previous=EventId(bytes(32)), hlc=clock(0), type_="note", refs=[], body=b"")
    orphan_signature = ALICE_LOG.sign(signed_bytes(GROUP, DATA.log, 0, orphan.id))
    cases = [
        ("log_gap", [parts[0], parts[2]], good.signature),
        ("signature_mismatch", parts[:2], good.signature),
        ("signature_mismatch", parts, BOB.sign(signed_bytes(GROUP, DATA.log, 2, good.last.id))),
        ("body_mismatch", [(parts[0][0], parts[1][1]), *parts[1:]], good.signature),
        ("not_canonical", [(parts[0][0] + "00", parts[0][1]), *parts[1:]], good.signature),
        ("clock_not_increasing", [parts[0], (stuck.header_bytes.hex(), "")], stuck_signature),
        ("log_gap", [(orphan.header_bytes.hex(), "")], orphan_signature),
        ("run_too_long", [], good.signature),
    ]
    return [{"code": code, "parts": [list(part) for part in run], "signature": signature.hex()} for code, run, signature in cases]


def clocks() -> object:
    """The next clock value of a log."""
    ahead = clock(10 * 60 * 1000)
    cases = [
        (0, 0, START_MS),
        (clock(0), 0, START_MS),
        (clock(0), 0, START_MS - 1000),
        (0, clock(1000), START_MS),
        (0, ahead, START_MS),
        (ahead, 0, START_MS),
    ]
    return [
        {"own_last": str(own), "highest_seen": str(seen), "now_ms": now_ms, "next": str(next_hlc(own, seen, now_ms))} for own, seen, now_ms in cases
    ]


def _said() -> list[messages.Message]:
    """Each message at least once, with values that show the order of its fields."""
    first = write_run(ALICE_LOG, DATA, None, [(Draft("note", encode({"number": number})), clock(number)) for number in range(2)])
    low, high = sorted([Tip(1, first.first.id), Tip(2, first.last.id)])
    hello = messages.Hello((1,), ALICE.peer_id, sha256(b"dialler nonce"), sha256(b"incarnation")[:16], sha256(b"process")[:16], "alice", b"")
    return [
        hello,
        hello._replace(versions=(1, 2, 2**32), record=sign_record(ALICE, PeerRecord(ALICE.peer_id, 1, (), Reachability.DIALLABLE, 60)).data),
        messages.Proof(ALICE.sign(b"abc"), joining=False),
        messages.Proof(ALICE.sign(b"abc"), joining=True),
        messages.Proof(ALICE.sign(b"abc"), joining=False, groups=(GROUP, GroupId(sha256(b"another group")))),
        messages.Join(GROUP, INVITE_KEY.public, INVITE_KEY.sign(join_bytes(GROUP, BOB.peer_id, sha256(b"listener nonce"))), "bob"),
        messages.Joined(GROUP, GENESIS.to_bytes()),
        messages.JoinRequest(
            GROUP,
            INVITE_KEY.public,
            BOB.peer_id,
            "bob",
            sha256(b"listener nonce"),
            INVITE_KEY.sign(join_bytes(GROUP, BOB.peer_id, sha256(b"listener nonce"))),
            8,
        ),
        messages.JoinRefused(GROUP, INVITE_KEY.public, BOB.peer_id, "invitation_refused"),
        messages.Guest(GROUP),
        messages.Member(GROUP),
        messages.Offer(GROUP, GENESIS.to_bytes()),
        messages.Have(GROUP, complete=True, more=False, logs=()),
        messages.Have(GROUP, complete=True, more=True, logs=(messages.LogEntry(DATA.log, DATA.to_bytes(), (high,)),)),
        messages.Have(
            GROUP, complete=False, more=False, logs=(messages.LogEntry(DATA.log, b"", (low, high)), messages.LogEntry(CONTROL.log, b"", (low,)))
        ),
        messages.Want(GROUP, DATA.log, (), search=False),
        messages.Want(GROUP, DATA.log, (first.last.id, first.first.id), search=True),
        messages.Unwant(GROUP, DATA.log),
        messages.Unknown(GROUP, DATA.log),
        messages.Events(GROUP, DATA.log, first.signature, tuple((event.header_bytes, event.body) for event in first.events)),
        messages.Rejected(GROUP, DATA.log, "signature_mismatch"),
        messages.Credit(262144),
        messages.Records(GROUP, ((b"a signed peer record", 1),)),
        messages.Sites(GROUP, ((b"a signed status", 2),)),
        messages.Digests(GROUP, 3, sha256(b"basis"), (("chunks", sha256(b"chunks")), ("recordings", bytes(32)))),
        messages.DigestWant(GROUP, sha256(b"basis"), "chunks", b""),
        messages.DigestPart(GROUP, sha256(b"basis"), "chunks", b"", rows=False, entries=((b"\x01", sha256(b"rows")), (b"\xff", sha256(b"others")))),
        messages.DigestPart(GROUP, sha256(b"basis"), "chunks", b"\x01", rows=True, entries=((b"\x01" * 32, sha256(b"row")),)),
        messages.BlobWant(7, GROUP, BlobId(sha256(b"blob")), 1048576, 262144, relay=True),
        messages.BlobPart(7, "", b"part"),
        messages.BlobPart(8, "not_found", b""),
        messages.PossessionWant(
            1, GROUP, EventId(sha256(b"recording")), sha256(b"round"), ((BlobId(sha256(b"blob")), 0), (BlobId(sha256(b"other")), 2))
        ),
        messages.Possession(1, "", (sha256(b"proof"), sha256(b"another"))),
        messages.Possession(2, "copy_releasing", ()),
        messages.RoundsWant(GROUP, (sha256(b"round"),)),
        messages.RoundsEnded(GROUP, (sha256(b"round"), sha256(b"another round"))),
        messages.Ping(0),
        messages.Pong(2**64 - 1),
        messages.Error("not_a_member", "you are no member of this group here", GROUP),
        messages.Error("protocol_violation", "", b""),
    ]


def wire() -> object:
    """Messages with their frames, and frames that are refused with their codes."""
    accepted = [messages.encode_message(message) for message in _said()]
    tips = [[2, bytes(32)], [1, bytes(32)]]
    refused = {
        "no message of this name": ("malformed_frame", encode(["hallo", 1])),
        "no array": ("malformed_frame", encode({"ping": 1})),
        "a field too many": ("malformed_frame", encode(["ping", 1, 1])),
        "a field too few": ("malformed_frame", encode(["unwant", GROUP])),
        "a longer integer than needed": ("malformed_frame", bytes.fromhex("826470696e671801")),
        "a trailing byte": ("malformed_frame", encode(["ping", 1]) + b"\0"),
        "a boolean as number": ("malformed_frame", encode(["ping", True])),
        "a negative number": ("malformed_frame", encode(["ping", -1])),
        "an id of 31 bytes": ("malformed_frame", encode(["unwant", GROUP, bytes(31)])),
        "a grant of nothing": ("malformed_frame", encode(["credit", 0])),
        "a name that is no name": ("malformed_frame", encode(["join", GROUP, bytes(32), bytes(64), "../bob"])),
        "a code that is no code": ("malformed_frame", encode(["rejected", GROUP, DATA.log, "No Code"])),
        "a log without tips": ("malformed_frame", encode(["have", GROUP, True, False, [[DATA.log, b"", []]]])),
        "tips out of order": ("malformed_frame", encode(["have", GROUP, True, False, [[DATA.log, b"", tips]]])),
        "a tip of height 0": ("malformed_frame", encode(["have", GROUP, True, False, [[DATA.log, b"", [[0, bytes(32)]]]]])),
        "a run without events": ("malformed_frame", encode(["events", GROUP, DATA.log, bytes(64), []])),
        "too deep": ("malformed_frame", encode(["ping", [[[[[[[[1]]]]]]]]])),
        "17 versions": ("limit_exceeded", encode(["hello", [1] * 17, ALICE.peer_id, bytes(32), bytes(16), bytes(16), "alice", b""])),
        "a record of 1025 bytes": ("limit_exceeded", encode(["hello", [1], ALICE.peer_id, bytes(32), bytes(16), bytes(16), "alice", bytes(1025)])),
        "a header of 1025 bytes": ("limit_exceeded", encode(["events", GROUP, DATA.log, bytes(64), [[bytes(1025), b""]]])),
    }
    return {
        "accepted": [{"fields": shown(decode(frame)), "frame": frame.hex()} for frame in accepted],
        "refused": [{"why": why, "code": code, "frame": frame.hex()} for why, (code, frame) in refused.items()],
    }


def handshake() -> object:
    """Both hellos and both proofs, without TLS and with it, and with versions to choose from."""
    return [
        _handshake_shown("without TLS", (1,), (1,), NO_CHANNEL_KEY),
        _handshake_shown("with TLS", (1,), (1,), sha256(b"the listener's SubjectPublicKeyInfo")),
        _handshake_shown("the highest common version", (1, 2, 5), (3, 2, 1), NO_CHANNEL_KEY),
    ]


def _handshake_shown(what: str, dialler_versions: tuple[int, ...], listener_versions: tuple[int, ...], channel_key: bytes) -> object:
    halves = {}
    for label, key, versions in (("dialler", ALICE, dialler_versions), ("listener", BOB, listener_versions)):
        made = [sha256(f"{part} of the {label}".encode()) for part in ("nonce", "incarnation", "process")]
        halves[label] = LocalSide(key, label, made[0], made[1][:16], made[2][:16], channel_key=channel_key, versions=versions)
    dialler, listener = Handshake(halves["dialler"], BOB.peer_id), Handshake(halves["listener"], None)
    frames = {side: messages.encode_message(each.hello) for side, each in (("dialler", dialler), ("listener", listener))}
    listener.take_hello(dialler.hello, frames["dialler"])
    dialler.take_hello(listener.hello, frames["listener"])
    listener.check_proof(dialler.prove())
    dialler.check_proof(listener.prove())
    return {
        "what": what,
        "context": HANDSHAKE_CONTEXT.hex(),
        "dialler_hello": frames["dialler"].hex(),
        "listener_hello": frames["listener"].hex(),
        "channel_key": channel_key.hex(),
        "version": dialler.version,
        "dialler_proof": dialler.prove().hex(),
        "listener_proof": listener.prove().hex(),
    }


def possession() -> object:
    """Proofs that a site holds a piece, of some bytes and of none."""
    question = Question(GROUP, EventId(sha256(b"recording")), sha256(b"round"), ALICE.peer_id, BOB.peer_id)
    return [
        {
            "context": POSSESSION_CONTEXT.hex(),
            **{name: value.hex() for name, value in question._asdict().items()},
            "blob": sha256(b"blob").hex(),
            "piece": piece,
            "data": data.hex(),
            "proof": prove(question, BlobId(sha256(b"blob")), piece, data).hex(),
        }
        for piece, data in ((0, b"the bytes of a piece"), (2047, bytes(1025)), (0, b""))
    ]


def files() -> dict[str, str]:
    """All vectors, by file name."""
    vectors = {
        "encoding": encoding(),
        "keys": keys(),
        "group": group(),
        "runs": runs(),
        "clock": clocks(),
        "messages": wire(),
        "handshake": handshake(),
        "possession": possession(),
    }
    return {f"{name}.json": json.dumps(value, indent=1, ensure_ascii=True) + "\n" for name, value in vectors.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
        sys.stdout.write(f"{name}\n")
