"""Who is at the other end: both sides sign both hellos, the listener first.

The signature covers the roles, the version, both ids and nonces, the key of the TLS channel and the hash of both hello frames, so that nothing said
in the handshake can be relayed, reflected or changed. Sign-and-MAC protocols (Krawczyk, SIGMA, 2003) are where the order of the parts comes from.
"""

from typing import NamedTuple

from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import NONCE_SIZE, KeyPair, PeerId, check_signature
from peer.errors import HandshakeFailedError, SignatureMismatchError, VersionMismatchError
from peer.sync.limits import PROTOCOL_VERSIONS
from peer.sync.messages import INCARNATION_SIZE, Hello, encode_message

HANDSHAKE_CONTEXT = b"recmesh/handshake/v1\0"
DIALLER, LISTENER = 0, 1
NO_CHANNEL_KEY = bytes(HASH_SIZE)
"""Stands for the listener's SubjectPublicKeyInfo on a channel without TLS."""


class LocalSide(NamedTuple):
    """What this peer brings to a handshake."""

    key: KeyPair
    name: str
    nonce: bytes
    """32 random bytes, made for this link."""
    incarnation: bytes
    process: bytes
    record: bytes = b""
    channel_key: bytes = NO_CHANNEL_KEY
    """SHA-256 of the listener's SubjectPublicKeyInfo, as this side sees the channel."""
    versions: tuple[int, ...] = PROTOCOL_VERSIONS


class Handshake:
    """One handshake, seen from one side."""

    def __init__(self, local: LocalSide, dialled: PeerId | None) -> None:
        """`dialled` is whom we dialled; None if we were dialled."""
        self._local = local
        self._dialled = dialled
        self._own_frame = encode_message(self.hello)
        self._their_frame = b""
        self._their_hello: Hello | None = None
        self.version = 0

    @property
    def we_dialled(self) -> bool:
        """True on the dialler's side."""
        return self._dialled is not None

    @property
    def hello(self) -> Hello:
        """Our own."""
        local = self._local
        return Hello(local.versions, local.key.peer_id, local.nonce, local.incarnation, local.process, local.name, local.record)

    @property
    def remote(self) -> Hello:
        """Theirs, once it has come."""
        assert self._their_hello is not None
        return self._their_hello

    @property
    def has_hello(self) -> bool:
        """True once theirs has come."""
        return self._their_hello is not None

    @property
    def listener_nonce(self) -> bytes:
        """What a joiner signs."""
        return self.remote.nonce if self.we_dialled else self._local.nonce

    def take_hello(self, hello: Hello, frame: bytes) -> None:
        """Their hello has come. Raises `HandshakeFailedError` or `VersionMismatchError`."""
        if self._dialled is not None and hello.peer != self._dialled:
            raise HandshakeFailedError(f"dialled {self._dialled.hex()[:12]}, but {hello.peer.hex()[:12]} answers there", fix="check its address")
        if hello.peer == self._local.key.peer_id:
            raise HandshakeFailedError("that is this peer itself", fix="remove its own address from its peers")
        common = set(hello.versions) & set(self._local.versions)
        if not common:
            raise VersionMismatchError(
                f"they speak versions {sorted(hello.versions)} of the protocol, we {sorted(self._local.versions)}", fix="upgrade the older site"
            )
        self.version = max(common)
        self._their_hello, self._their_frame = hello, frame

    def take_signed(self, caller: PeerId) -> None:
        """An HTTP request came whose signature is the proof of `caller`: it stands for their hello, too. Raises `HandshakeFailedError`."""
        versions = self._local.versions
        self.take_hello(Hello(versions, caller, bytes(NONCE_SIZE), bytes(INCARNATION_SIZE), bytes(INCARNATION_SIZE), "", b""), b"")

    def prove(self) -> bytes:
        """Our signature."""
        return self._local.key.sign(self._signed(DIALLER if self.we_dialled else LISTENER))

    def check_proof(self, signature: bytes) -> None:
        """Raise `HandshakeFailedError` unless `signature` is theirs over this handshake."""
        try:
            check_signature(self.remote.peer, self._signed(LISTENER if self.we_dialled else DIALLER), signature)
        except SignatureMismatchError as error:
            raise HandshakeFailedError("they do not prove the key that they claim") from error

    def _signed(self, role: int) -> bytes:
        ours, theirs = self.hello, self.remote
        frames = (self._own_frame, self._their_frame)
        dialler, listener = (ours, theirs) if self.we_dialled else (theirs, ours)
        first, second = frames if self.we_dialled else frames[::-1]
        return b"".join(
            (
                HANDSHAKE_CONTEXT,
                role.to_bytes(1, "big"),
                self.version.to_bytes(2, "big"),
                dialler.peer,
                listener.peer,
                dialler.nonce,
                listener.nonce,
                self._local.channel_key,
                hash_bytes(first + second),
            )
        )
