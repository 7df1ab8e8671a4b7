"""Groups: the genesis record, whose hash is the group id, and invitations, which pin it."""

import base64
from typing import NamedTuple

from peer.core.control import ASSIGNABLE, Role
from peer.core.encoding import decode, encode
from peer.core.endpoint import ENDPOINT_CHARACTERS_MAX
from peer.core.hashing import hash_bytes
from peer.core.identity import ID_SIZE, NONCE_SIZE, SEED_SIZE, GroupId, KeyPair, PeerId, check_signature
from peer.core.names import check_name
from peer.errors import InvitationInvalidError, NameInvalidError, NotCanonicalError, RemoteProtocolError, SignatureMismatchError

GENESIS_VERSION = 1
GENESIS_SIZE_MAX = 8192
OWNERS_MAX = 16
INVITATION_VERSION = 1
INVITATION_PREFIX = "recmesh1"
INVITATION_CONTEXT = b"recmesh/invitation/v1\0"
CHECKSUM_SIZE = 4
INVITATION_CHARACTERS_MAX = 4096


class Genesis(NamedTuple):
    """How a group begins. Its hash is the group id, so whoever knows the id knows the owners."""

    name: str
    owners: tuple[PeerId, ...]
    """Most senior first."""
    nonce: bytes
    created_ms: int
    policy: dict[str, object]

    def to_bytes(self) -> bytes:
        """`[1, name, owners, nonce, created_ms, policy]`."""
        return encode([GENESIS_VERSION, self.name, list(self.owners), self.nonce, self.created_ms, self.policy])

    @property
    def group(self) -> GroupId:
        """The id of this group."""
        return GroupId(hash_bytes(self.to_bytes()))


def read_genesis(data: bytes, group: GroupId) -> Genesis:
    """The genesis record of `group` in `data`. Raises `RemoteProtocolError` if it is another's or malformed."""
    if len(data) > GENESIS_SIZE_MAX or hash_bytes(data) != group:
        raise RemoteProtocolError("a genesis record that is not the one of this group")
    try:
        match decode(data):
            case [int(version), str(name), list(owners), bytes(nonce), int(created_ms), dict(policy)] if (
                type(version) is type(created_ms) is int and version == GENESIS_VERSION and created_ms >= 0
            ):
                check_name(name, "group")
            case _:
                raise RemoteProtocolError("a genesis record without the known fields")
    except (NotCanonicalError, NameInvalidError) as error:
        raise RemoteProtocolError(f"a genesis record that is not valid: {error}") from error
    peers = tuple(PeerId(owner) for owner in owners if type(owner) is bytes and len(owner) == ID_SIZE)
    if not 1 <= len(peers) <= OWNERS_MAX or len(peers) != len(owners) or len(set(peers)) != len(peers) or len(nonce) != NONCE_SIZE:
        raise RemoteProtocolError("a genesis record with a malformed owner or nonce")
    return Genesis(name, peers, nonce, created_ms, dict(policy))


class Invitation(NamedTuple):
    """What an admin hands to somebody: enough to find the group, and the private half of a key made for this purpose."""

    group: GroupId
    group_name: str
    inviter: PeerId
    member: PeerId
    """A member that can be dialled."""
    endpoint: str
    """Where it can be dialled, as a URL."""
    role: Role
    expires_ms: int
    seed: bytes

    def __repr__(self) -> str:
        """Without the private half: an invitation may end up in a log line."""
        return f"Invitation({self.group_name!r}, {self.key.public.hex()[:12]})"

    @property
    def key(self) -> KeyPair:
        """The key that the group's control log names in its `invite` event."""
        return KeyPair(self.seed)

    def to_text(self) -> str:
        """One line, with a checksum that tells a typo from a wrong invitation."""
        data = encode(
            [INVITATION_VERSION, self.group, self.group_name, self.inviter, self.member, self.endpoint, int(self.role), self.expires_ms, self.seed]
        )
        text = base64.b32encode(data + hash_bytes(data)[:CHECKSUM_SIZE]).decode().rstrip("=").lower()
        return f"{INVITATION_PREFIX}{text}"


def read_invitation(text: str) -> Invitation:
    """The invitation in `text`. Raises `InvitationInvalidError`."""
    damaged = InvitationInvalidError("this is not an invitation, or a character of it is wrong or missing", fix="copy the whole line again")
    line = "".join(text[:INVITATION_CHARACTERS_MAX].split()).lower()
    if len(text) > INVITATION_CHARACTERS_MAX or not line.isascii() or not line.startswith(INVITATION_PREFIX):
        raise damaged
    encoded = line.removeprefix(INVITATION_PREFIX).upper()
    try:
        data = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except ValueError as error:
        raise damaged from error
    data, checksum = data[:-CHECKSUM_SIZE], data[-CHECKSUM_SIZE:]
    if hash_bytes(data)[:CHECKSUM_SIZE] != checksum:
        raise damaged
    try:
        fields = decode(data)
        match fields:
            case [1, bytes(group), str(name), bytes(inviter), bytes(member), str(endpoint), int(role), int(expires_ms), bytes(seed)]:
                invitation = Invitation(
                    GroupId(group), check_name(name, "group"), PeerId(inviter), PeerId(member), endpoint, Role(role), expires_ms, seed
                )
            case _:
                raise damaged
    except (NotCanonicalError, NameInvalidError, ValueError) as error:
        raise damaged from error
    if not len(group) == len(inviter) == len(member) == ID_SIZE or len(seed) != SEED_SIZE or role not in ASSIGNABLE:
        raise damaged
    if (
        type(expires_ms) is not int
        or expires_ms < 0
        or len(endpoint) > ENDPOINT_CHARACTERS_MAX
        or not endpoint.isprintable()
        or invitation.to_text() != line
    ):
        raise damaged  # The last comparison finds what the decoders pass over: unused bits at the end, true for 1.
    return invitation


def join_bytes(group: GroupId, peer: PeerId, listener_nonce: bytes) -> bytes:
    """What a joiner signs with the invitation's key."""
    return INVITATION_CONTEXT + group + peer + listener_nonce


def check_join(key: bytes, group: GroupId, peer: PeerId, listener_nonce: bytes, signature: bytes) -> bool:
    """True if `signature` shows that `peer` holds the invitation `key`."""
    try:
        check_signature(key, join_bytes(group, peer, listener_nonce), signature)
    except SignatureMismatchError:
        return False
    return True
