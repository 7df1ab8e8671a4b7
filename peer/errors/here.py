"""What this site, its operator or a caller of its admin API has to put right: leaves of `ConfigError`, `RequestError` and `StoreError`."""

from peer.errors.base import ConfigError, RequestError, StoreError


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


class NotFoundError(RequestError):
    """No such group, recording, peer."""

    code = "not_found"
    status = 404


class AmbiguousError(RequestError):
    """A prefix or name fits several things."""

    code = "ambiguous"
    status = 409


class PeerInConfigurationError(RequestError):
    """The peer stands in the configuration file: nobody can take it out but who edits that."""

    code = "peer_in_configuration"
    status = 409


class HubCredentialError(ConfigError):
    """The key for the hub is missing, no key, or open to others."""

    code = "hub_credential"


class MeshCredentialError(ConfigError):
    """The token for the daemon of the mesh is no token, or open to others."""

    code = "mesh_credential"


class NetworkCredentialError(ConfigError):
    """The key of the coordination server is missing, no key, or open to others."""

    code = "mesh_provider_credential"


class NameInvalidError(RequestError):
    """A name that could not become a path everywhere."""

    code = "name_invalid"


class NameTakenError(RequestError):
    """A group of this name exists here, or this site has used it for a recording of the group."""

    code = "name_taken"
    status = 409


class RecordingFinalizedError(RequestError):
    """Something was to be added to a recording that is complete."""

    code = "recording_finalized"
    status = 409


class RuleInvalidError(RequestError):
    """A rule of a policy that says nothing, or nothing that is known here."""

    code = "rule_invalid"


class WatchFolderError(RequestError):
    """A folder that cannot be watched."""

    code = "watch_folder"
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


class ChangedMeanwhileError(RequestError):
    """Somebody else changed it since the caller looked."""

    code = "changed_meanwhile"
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


class NetworkUnconfiguredError(RequestError):
    """The operator named no coordination server of a mesh."""

    code = "mesh_provider_missing"
    status = 409


class HubDisabledError(RequestError):
    """This peer is no hub."""

    code = "hub_disabled"
    status = 409


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


class McapUnrecoverableError(RequestError):
    """A damaged MCAP file of which nothing can be read."""

    code = "mcap_unrecoverable"


class RecoveryUnverifiedError(RequestError):
    """A recovered file that, read back, is not what was written."""

    code = "recovery_unverified"
    status = 500


class BytesDamagedError(RequestError):
    """Bytes that are here and are not what was recorded: they were looked at because somebody wanted them."""

    code = "bytes_damaged"
    status = 500


class TargetTakenError(RequestError):
    """A file or folder that is to be written, and is there already: nothing is overwritten."""

    code = "target_taken"
    status = 409


class TargetFullError(RequestError):
    """No space where something is to be written that somebody asked for."""

    code = "target_full"
    status = 507


class ManifestInvalidError(RequestError):
    """Bytes that are no manifest of a recording, or none of a version that is known here."""

    code = "manifest_invalid"


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


class StoreCorruptError(StoreError):
    """A database that SQLite or our own checks find damaged."""

    code = "store_corrupt"


class RowsUnreadError(StoreError):
    """Rows of a database that this version does not understand: it goes on without them."""

    code = "rows_unread"


class LogMissingError(StoreError):
    """This peer has written logs of a group that its database does not know: `log.db` was lost or replaced."""

    code = "log_missing"


class LogDamagedError(StoreError):
    """`log.db` was damaged or lost: what could be read of it was taken over into a new one, the rest comes from other peers."""

    code = "log_damaged"


class DiskFullError(StoreError):
    """No space to write."""

    code = "disk_full"
