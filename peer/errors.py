"""The error tree, by fault: who has to act when it is raised.

Each leaf has a stable `code`: the same word on the wire, in HTTP answers, in logs and on the command line. `docs/errors.md` lists them all.
"""


class MeshError(Exception):
    """Anything that this project raises on purpose."""

    code = "mesh_error"

    def __init__(self, text: str, *, fix: str = "") -> None:
        """`text` says what and why in one line, `fix` what to do about it."""
        super().__init__(text)
        self.text = text
        self.fix = fix


class ConfigError(MeshError):
    """The operator has to change something: print one line, exit 2."""

    code = "config_invalid"


class DataDirectoryMissingError(ConfigError):
    """There is no data directory here yet."""

    code = "not_initialised"


class DataDirectoryLockedError(ConfigError):
    """Another process works on this data directory."""

    code = "data_directory_locked"


class DataDirectoryVersionError(ConfigError):
    """The data directory was written by a newer version, or one too old to migrate."""

    code = "data_directory_version"


class PortInUseError(ConfigError):
    """A listener cannot have its address."""

    code = "port_in_use"


class TokensDamagedError(ConfigError):
    """The file of the admin API's tokens is not what was written: none of them is valid."""

    code = "tokens_damaged"


class TlsInvalidError(ConfigError):
    """The certificate or key that the operator supplies cannot be used."""

    code = "tls_invalid"


class TlsKeyExposedError(ConfigError):
    """The file with the operator's TLS key is open to others."""

    code = "tls_key_exposed"


class RequestError(MeshError):
    """What a person or program asked for cannot be done as asked: HTTP 4xx, exit 1."""

    code = "request_invalid"
    status = 400


class NotFoundError(RequestError):
    """No such group, recording, peer."""

    code = "not_found"
    status = 404


class AmbiguousError(RequestError):
    """A prefix or name fits several things."""

    code = "ambiguous"
    status = 409


class NameInvalidError(RequestError):
    """A name that could not become a path everywhere."""

    code = "name_invalid"


class NameTakenError(RequestError):
    """A group of this name exists here."""

    code = "name_taken"
    status = 409


class NotAllowedError(RequestError):
    """The caller, or this peer in this group, may not do that."""

    code = "not_allowed"
    status = 403


class RemovedFromGroupError(RequestError):
    """This peer has no role in the group any more: what it wrote would count nowhere."""

    code = "removed_from_group"
    status = 403


class NoChangeError(RequestError):
    """What is asked for is so already."""

    code = "no_change"
    status = 409


class DecisionOverruledError(RequestError):
    """A decision was written and does not have the effect that it was to have: others decided at the same time."""

    code = "decision_overruled"
    status = 409


class TokenInvalidError(RequestError):
    """The admin API was called without a valid token."""

    code = "token_invalid"
    status = 401


class MethodNotAllowedError(RequestError):
    """A route of the admin API that has no such method."""

    code = "method_not_allowed"
    status = 405


class BodyTooLargeError(RequestError):
    """A request with more bytes than the admin API reads."""

    code = "body_too_large"
    status = 413


class TierTooLowError(RequestError):
    """The token is valid, but not for this: its tier is too low."""

    code = "tier_too_low"
    status = 403


class OriginRefusedError(RequestError):
    """A web page from elsewhere called the admin API."""

    code = "origin_refused"
    status = 403


class PathNotAllowedError(RequestError):
    """A path of this machine that a caller of the admin API may not name."""

    code = "path_not_allowed"
    status = 403


class InvitationInvalidError(RequestError):
    """An invitation whose text is damaged."""

    code = "invitation_typo"


class InvitationRefusedError(RequestError):
    """A well-formed invitation that the other side does not honour."""

    code = "invitation_refused"
    status = 403


class NoAdminReachedError(RequestError):
    """Nobody who may decide on an invitation could be asked."""

    code = "no_admin_reached"
    status = 503


class FileUnreadableError(RequestError):
    """A path that is missing or that may not be read."""

    code = "file_unreadable"


class NotMcapError(RequestError):
    """A file that is no MCAP file at all."""

    code = "not_mcap"


class McapEmptyError(RequestError):
    """An MCAP file, or file of no bytes, with nothing in it."""

    code = "mcap_empty"


class McapTruncatedError(RequestError):
    """An MCAP file that ends before its end, or is damaged inside."""

    code = "mcap_truncated"


class BackupTargetError(RequestError):
    """A folder that a backup cannot be made in: no backup is written over anything."""

    code = "backup_target"
    status = 409


class TimedOutError(RequestError):
    """The work goes on or failed, but the time to wait for it is over."""

    code = "timed_out"
    status = 504


class SomeFailedError(RequestError):
    """Of several things asked for, some were done and some were not: each is told by itself."""

    code = "some_failed"


class VerifyFailedError(MeshError):
    """What is stored here is not what it should be: each problem is listed."""

    code = "verify_failed"


class DemoFailedError(MeshError):
    """The demonstration did not show what it should: a bug, or a machine without what it takes."""

    code = "demo_failed"


class EventRejectedError(MeshError):
    """The event is bad: do not store it; the session goes on."""

    code = "event_rejected"


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


class RunTooLongError(EventRejectedError):
    """More events or bytes than one signature may cover."""

    code = "run_too_long"


class LocalProtocolError(MeshError):
    """We broke our own protocol: a bug. Crash and fix."""

    code = "local_protocol"


class RemoteProtocolError(MeshError):
    """They broke the protocol: close the link, saying why."""

    code = "protocol_violation"


class MalformedFrameError(RemoteProtocolError):
    """A frame that does not decode to a message."""

    code = "malformed_frame"


class HandshakeFailedError(RemoteProtocolError):
    """They did not prove the key that they claim, or not the one we dialled."""

    code = "handshake_failed"


class ChannelKeyMismatchError(HandshakeFailedError):
    """The certificate that is shown there has neither the peer's own key nor the pinned one."""

    code = "channel_key_mismatch"


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


class RecordInvalidError(RemoteProtocolError):
    """A peer record that is malformed, or not signed by the peer it is about."""

    code = "record_invalid"


class TransportError(MeshError):
    """Nobody's fault: back off and retry."""

    code = "unreachable"


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


class ReaderTooSlowError(TransportError):
    """The other side does not read what it is sent."""

    code = "reader_too_slow"


class ShuttingDownError(TransportError):
    """The other side is stopping."""

    code = "shutting_down"


class BlobMismatchError(TransportError):
    """Bytes that do not have the hash they were asked for by: ask another peer."""

    code = "blob_mismatch"


class ResolveError(MeshError):
    """A source of peer addresses does not answer: back off and retry."""

    code = "resolve_failed"


class StoreError(MeshError):
    """The disk: stop the node."""

    code = "store_failed"


class StoreCorruptError(StoreError):
    """A database that SQLite or our own checks find damaged."""

    code = "store_corrupt"


class LogMissingError(StoreError):
    """This peer has written logs of a group that its database does not know: `log.db` was lost or replaced."""

    code = "log_missing"


class LogDamagedError(StoreError):
    """`log.db` was damaged or lost: what could be read of it was taken over into a new one, the rest comes from other peers."""

    code = "log_damaged"


class DiskFullError(StoreError):
    """No space to write."""

    code = "disk_full"
