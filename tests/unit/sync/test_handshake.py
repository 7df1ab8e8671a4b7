import itertools
from typing import NamedTuple

import pytest

from peer.core.hashing import sha256
from peer.core.identity import PeerId
from peer.errors import HandshakeFailedError, VersionMismatchError
from peer.sync.handshake import Handshake, LocalSide
from peer.sync.limits import PROTOCOL_VERSIONS
from peer.sync.messages import encode_message
from tests.samples import key_pair

KEY_OF_CHANNEL = sha256(b"subject public key info")


def local(peer: str, **changed: object) -> LocalSide:
    side = LocalSide(key_pair(peer), peer, sha256(b"nonce of " + peer.encode()), b"i" * 16, b"p" * 16, channel_key=KEY_OF_CHANNEL)
    return side._replace(**changed)  # type: ignore[arg-type]


class Ends(NamedTuple):
    """Both sides of one handshake."""

    dialler: Handshake
    listener: Handshake


def ends(dialler: LocalSide | None = None, listener: LocalSide | None = None, *, dialled: str = "bob") -> Ends:
    return Ends(Handshake(dialler or local("alice"), key_pair(dialled).peer_id), Handshake(listener or local("bob"), None))


def exchange_hellos(both: Ends) -> Ends:
    both.listener.take_hello(both.dialler.hello, encode_message(both.dialler.hello))
    both.dialler.take_hello(both.listener.hello, encode_message(both.listener.hello))
    return both


def test_two_that_follow_the_protocol_prove_themselves_to_each_other() -> None:
    both = exchange_hellos(ends())

    both.dialler.check_proof(both.listener.prove())
    both.listener.check_proof(both.dialler.prove())
    assert both.dialler.version == both.listener.version == max(PROTOCOL_VERSIONS)
    assert both.dialler.listener_nonce == both.listener.listener_nonce == sha256(b"nonce of bob")


def test_a_proof_cannot_be_reflected() -> None:
    both = exchange_hellos(ends())

    with pytest.raises(HandshakeFailedError):
        both.dialler.check_proof(both.dialler.prove())
    with pytest.raises(HandshakeFailedError):
        both.listener.check_proof(both.listener.prove())


@pytest.mark.parametrize(
    "changed",
    [
        {"key": key_pair("mallory")},
        {"nonce": sha256(b"another nonce")},
        {"name": "another-name"},
        {"incarnation": b"j" * 16},
        {"process": b"q" * 16},
        {"record": b"another record"},
        {"versions": (*PROTOCOL_VERSIONS, 99)},
    ],
    ids=lambda changed: next(iter(changed)),
)
@pytest.mark.parametrize("place", [0, 1], ids=["dialler", "listener"])
def test_whatever_one_side_says_differently_breaks_both_proofs(changed: dict[str, object], place: int) -> None:
    """Somebody in between shows each side another hello than the other side sent."""
    name = ("alice", "bob")[place]
    honest = exchange_hellos(ends())
    shown = exchange_hellos(
        ends(**{("dialler", "listener")[place]: local(name, **changed)}, dialled="mallory" if place and "key" in changed else "bob")
    )

    for receiver, sender in ((honest.dialler, shown.listener), (honest.listener, shown.dialler)):
        with pytest.raises(HandshakeFailedError):
            receiver.check_proof(sender.prove())


def test_two_channels_joined_in_the_middle_break_both_proofs() -> None:
    """Hellos and proofs are passed on as they are, but each side sees the key of another TLS channel."""
    both = exchange_hellos(ends(local("alice", channel_key=sha256(b"the key of somebody in between"))))

    for receiver, sender in ((both.dialler, both.listener), (both.listener, both.dialler)):
        with pytest.raises(HandshakeFailedError):
            receiver.check_proof(sender.prove())


def test_a_hello_changed_on_the_way_breaks_the_proof() -> None:
    both = ends()
    both.listener.take_hello(both.dialler.hello, encode_message(both.dialler.hello._replace(name="somebody-else")))
    both.dialler.take_hello(both.listener.hello, encode_message(both.listener.hello))

    with pytest.raises(HandshakeFailedError):
        both.dialler.check_proof(both.listener.prove())
    with pytest.raises(HandshakeFailedError):
        both.listener.check_proof(both.dialler.prove())


def test_a_version_talked_down_on_the_way_breaks_the_proof() -> None:
    """Somebody in between removes the better version from a hello."""
    both = ends(local("alice", versions=(1, 2)), local("bob", versions=(1, 2)))
    cut = both.dialler.hello._replace(versions=(1,))
    both.listener.take_hello(cut, encode_message(cut))
    both.dialler.take_hello(both.listener.hello, encode_message(both.listener.hello))

    assert (both.dialler.version, both.listener.version) == (2, 1)
    with pytest.raises(HandshakeFailedError):
        both.dialler.check_proof(both.listener.prove())


def test_every_single_signed_part_matters() -> None:
    """Of a proof over other bytes nothing is accepted, wherever they differ."""
    both = exchange_hellos(ends())
    signed = both.listener._signed(1)

    assert len(signed) == len(b"recmesh/handshake/v1\0") + 1 + 2 + 4 * 32 + 32 + 32
    for place in range(len(signed)):
        changed = bytearray(signed)
        changed[place] ^= 1
        with pytest.raises(HandshakeFailedError):
            both.dialler.check_proof(key_pair("bob").sign(bytes(changed)))
    both.dialler.check_proof(key_pair("bob").sign(signed))


def test_another_peer_than_the_dialled_one_is_refused_at_its_hello() -> None:
    both = ends(dialled="carol")

    with pytest.raises(HandshakeFailedError, match="dialled"):
        both.dialler.take_hello(both.listener.hello, encode_message(both.listener.hello))


def test_a_peer_does_not_talk_to_itself() -> None:
    both = ends(local("alice"), local("alice"), dialled="alice")

    for end, hello in ((both.dialler, both.listener.hello), (both.listener, both.dialler.hello)):
        with pytest.raises(HandshakeFailedError, match="itself"):
            end.take_hello(hello, encode_message(hello))


@pytest.mark.parametrize(("ours", "theirs"), [((1,), (2,)), ((1, 2), (3, 4)), ((1,), ()), ((1,), (2**64 - 1,))])
def test_without_a_common_version_there_is_no_link(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    both = ends(local("alice", versions=ours), local("bob", versions=theirs))

    with pytest.raises(VersionMismatchError):
        both.dialler.take_hello(both.listener.hello, encode_message(both.listener.hello))


@pytest.mark.parametrize(("ours", "theirs"), [*itertools.permutations([(1,), (1, 2), (2, 1, 3), (3, 1)], 2)])
def test_the_highest_common_version_is_spoken(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    both = exchange_hellos(ends(local("alice", versions=ours), local("bob", versions=theirs)))

    assert both.dialler.version == both.listener.version == max(set(ours) & set(theirs))


def test_a_name_of_the_dialled_peer_proves_nothing() -> None:
    """A listener that claims the dialled id without its key fails at the proof."""
    both = exchange_hellos(ends(listener=local("bob")))

    with pytest.raises(HandshakeFailedError):
        both.dialler.check_proof(key_pair("mallory").sign(both.listener._signed(1)))
    assert both.dialler.remote.peer == PeerId(key_pair("bob").peer_id)
