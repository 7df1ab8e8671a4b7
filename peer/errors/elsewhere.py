"""What another peer, an event of its, a hub or the network did: leaves of the trunk's classes for these."""

from peer.errors.base import EventRejectedError, RemoteProtocolError, ResolveError, TransportError


class NotCanonicalError(EventRejectedError):
    """Bytes that are not the one deterministic CBOR encoding of a value."""

    code = "not_canonical"


class HeaderInvalidError(EventRejectedError):
    """A header whose fields have the wrong number, type or size."""

    code = "header_invalid"


class VersionUnknownError(EventRejectedError):
    """An event header of a version that this peer does not know: upgrade."""

    code = "event_version_unknown"


class CertificateInvalidError(EventRejectedError):
    """A log certificate that is malformed, or not signed by the peer it names."""

    code = "certificate_invalid"


class SignatureMismatchError(EventRejectedError):
    """A signature that does not verify under its key."""

    code = "signature_mismatch"


class LogGapError(EventRejectedError):
    """An event whose predecessor is not the one it names, or not held."""

    code = "log_gap"


class ClockNotIncreasingError(EventRejectedError):
    """An event whose clock does not grow along its branch."""

    code = "clock_not_increasing"


class WrongLogError(EventRejectedError):
    """An event of another log or group inside a run."""

    code = "wrong_log"


class BodyMismatchError(EventRejectedError):
    """A body that has not the size or hash that its header promises."""

    code = "body_mismatch"


class TooManyLogsError(EventRejectedError):
    """A new log of somebody who has too many unsealed ones in the group. It waits: nothing is wrong with it."""

    code = "too_many_logs"


class TooManyForksError(EventRejectedError):
    """A fork of a log that has too many branches. It waits: nothing is wrong with it, but something is with its log."""

    code = "too_many_forks"


class RunTooLongError(EventRejectedError):
    """More events or bytes than one signature may cover."""

    code = "run_too_long"


class MalformedFrameError(RemoteProtocolError):
    """A frame that does not decode to a message."""

    code = "malformed_frame"


class HandshakeFailedError(RemoteProtocolError):
    """They did not prove the key that they claim, or not the one we dialled."""

    code = "handshake_failed"


class ChannelKeyMismatchError(HandshakeFailedError):
    """The certificate that is shown there has neither the peer's own key nor the pinned one."""

    code = "channel_key_mismatch"


class AddressNotAllowedError(TransportError):
    """An address that others told of leads to where such addresses are not dialled."""

    code = "address_not_allowed"


class ChannelUnprotectedError(HandshakeFailedError):
    """A connection without TLS that is neither on loopback nor within a configured WireGuard network."""

    code = "channel_unprotected"


class NotAMemberError(RemoteProtocolError):
    """They share no group with us: nothing is served."""

    code = "not_a_member"


class VersionMismatchError(RemoteProtocolError):
    """No protocol version that both sides speak."""

    code = "version_mismatch"


class CreditExceededError(RemoteProtocolError):
    """They sent more than they were granted."""

    code = "credit_exceeded"


class LimitExceededError(RemoteProtocolError):
    """They exceeded one of the named limits."""

    code = "limit_exceeded"


class TooManyRequestsError(RemoteProtocolError):
    """They send more by single requests than a peer may: they have to come again later."""

    code = "too_many_requests"


class RecordInvalidError(RemoteProtocolError):
    """A peer record that is malformed, or not signed by the peer it is about."""

    code = "record_invalid"


class HandshakeTimeoutError(TransportError):
    """A connection whose other end did not prove in time who it is."""

    code = "handshake_timeout"


class LinkSilentError(TransportError):
    """A link over which nothing comes any more, not even an answer to a ping."""

    code = "link_silent"


class NoPeerError(TransportError):
    """Nothing answers where the admin API of the peer should be."""

    code = "no_peer"


class LinkBrokenError(TransportError):
    """The connection of a link broke."""

    code = "link_broken"


class DuplicateLinkError(TransportError):
    """Another link to the same peer stays."""

    code = "duplicate_link"


class EnoughLinksError(TransportError):
    """The other side has more links than it needs: somebody else has to be found."""

    code = "enough_links"


class LinkPausedError(TransportError):
    """The operator of this site, or of the other, wants no link at the moment."""

    code = "link_paused"


class FrameTooLargeError(TransportError):
    """Something between the two sites takes no request in which a single frame fits."""

    code = "frame_too_large"


class ReaderTooSlowError(TransportError):
    """The other side does not read what it is sent."""

    code = "reader_too_slow"


class ShuttingDownError(TransportError):
    """The other side is stopping."""

    code = "shutting_down"


class BlobMismatchError(TransportError):
    """Bytes that do not have the hash they were asked for by: ask another peer."""

    code = "blob_mismatch"


class BlobAbsentError(TransportError):
    """The other side says that it does not have the bytes, or not for us."""

    code = "blob_absent"


class BlobImpossibleError(BlobMismatchError):
    """What an event says about a blob that no bytes can fulfil: nobody can give it."""

    code = "blob_impossible"


class HubUnreachableError(ResolveError):
    """The hub does not answer, or not in time."""

    code = "hub_unreachable"


class HubKeyMismatchError(ResolveError):
    """The hub shows another certificate than the one that is pinned, or none that can be verified."""

    code = "hub_key_mismatch"


class HubRefusedError(ResolveError):
    """The hub answers, and does not do what it was asked for."""

    code = "hub_refused"


class HubBusyError(ResolveError):
    """The hub wants fewer calls: it is asked again when it said."""

    code = "hub_busy"


class HubAnswerInvalidError(ResolveError):
    """What the hub answers is not what a hub answers, or too much of it."""

    code = "hub_answer_invalid"


class MeshAbsentError(ResolveError):
    """No daemon of a WireGuard mesh runs on this machine."""

    code = "mesh_absent"


class MeshNotListeningError(ResolveError):
    """This peer is to listen at its addresses in the mesh, and cannot, or not at all of them."""

    code = "mesh_not_listening"


class MeshUnreachableError(ResolveError):
    """The daemon of the mesh does not answer, or not in time."""

    code = "mesh_unreachable"


class MeshRefusedError(ResolveError):
    """The daemon of the mesh does not tell this user anything."""

    code = "mesh_refused"


class MeshAnswerInvalidError(ResolveError):
    """What answers at the place of the mesh's daemon is none, or says too much."""

    code = "mesh_answer_invalid"


class CallerRefusedError(TransportError):
    """This machine of the mesh, or whoever comes from elsewhere, may not call here."""

    code = "mesh_caller_refused"


class CallerUndecidedError(TransportError):
    """Only some machines of the mesh may call here, and the mesh cannot be asked which one this is."""

    code = "mesh_caller_undecided"


class PolicyTextError(ResolveError):
    """The access policy of the mesh cannot be read, or the part of it that is ours is not as we wrote it."""

    code = "mesh_policy_text"


class NetworkProviderError(ResolveError):
    """The coordination server of the mesh does not do what it is asked for."""

    code = "mesh_provider_failed"


class NetworkUnreachableError(NetworkProviderError):
    """The coordination server of the mesh does not answer, or not in time."""

    code = "mesh_provider_unreachable"


class NetworkRefusedError(NetworkProviderError):
    """The coordination server of the mesh does not let this site do that."""

    code = "mesh_provider_refused"


class PolicyChangedError(NetworkProviderError):
    """Somebody else changed the policy of the mesh since it was read: it is not overwritten."""

    code = "mesh_policy_changed"


class PolicyRefusedError(NetworkProviderError):
    """The coordination server would not take this policy."""

    code = "mesh_policy_refused"
