"""What travels over the admin API about exported and recovered recordings."""

from pydantic import Field

from peer.api.editing_models import RecordingShown
from peer.api.models import Answer, Count, Hex, Ns, RecordingAdd, Request


class RecordingExport(Request):
    """Where a recording is to be written: a new folder of this machine."""

    to: str = Field(max_length=4096)
    dry_run: bool = Field(default=False, description="Only say what would be written")


class ExportedFile(Answer):
    """A file of the folder."""

    name: str
    size_bytes: Count


class Exported(Answer):
    """What was written, or would be."""

    id: Hex
    name: str
    to: str
    dry_run: bool
    size_bytes: Count
    files: list[ExportedFile]


class RecordingTake(RecordingAdd):
    """Files of this machine that are to become a recording."""

    recover: bool = Field(default=False, description="Take what can be read of files that are cut off or damaged")


class LostPlace(Answer):
    """Where in a file something was lost. Times are those of all messages of the chunk there."""

    offset: Count
    size_bytes: Count
    missing_bytes: Count
    what: str
    message_count: Count | None
    content_bytes: Count | None
    start_time_ns: Ns | None
    start_time: str | None
    end_time_ns: Ns | None
    end_time: str | None


class RecoveredFile(Answer):
    """What was recovered of a file. `lost_message_count` is null where the file does not tell; `places` are the first of them."""

    source_name: str
    source_sha256: Hex
    source_size_bytes: Count
    is_closed: bool
    ends_early: bool
    message_count: Count
    lost_message_count: Count | None
    lost_bytes: Count
    place_count: Count
    places: list[LostPlace]


class RecordingAdded(RecordingShown):
    """A new recording. `recovered` are those of its files that were cut off or damaged."""

    recovered: list[RecoveredFile]
