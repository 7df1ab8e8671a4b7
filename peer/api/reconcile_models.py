"""What travels over the admin API where events, bytes here and bytes elsewhere are compared."""

from pydantic import Field

from peer.api.models import Answer, Count, Hex, Request


class Reconcile(Request):
    """Whether anything is to be done about what is found."""

    restore: bool = Field(default=False, description="Bring here, from sites that have it, what is damaged or gone")


class ReconciledCounts(Answer):
    """How many files are in each case."""

    only_here: Count
    unsaid: Count
    sound: Count
    wrong_elsewhere: Count
    damaged: Count
    elsewhere: Count
    missing: Count
    stray_here: Count
    stray_elsewhere: Count
    unproven: Count


class ReconciledFile(Answer):
    """A file that is not simply sound everywhere. `number` is that of its case in docs/bytes.md; `path` only of bytes that no event tells of.

    `holders` are the sites that say to have it, each with what became of asking it: right, wrong, absent or unasked.
    """

    row: str
    number: Count
    meaning: str
    blob_id: Hex
    group: Hex | None
    recording: Hex | None
    holders: dict[str, str]
    action: str = Field(description="said, restoring, or nothing")
    piece_list: str = Field(description="damaged, missing or made anew, where its piece list was not sound")
    path: str | None


class Reconciled(Answer):
    """What was found. `folders` of the readable tree are not what they should be; `restoring` are blobs on their way, of `recordings`."""

    ok: bool
    restore: bool
    counts: ReconciledCounts
    files: list[ReconciledFile]
    files_left_out: Count
    folders: list[str]
    restoring: list[Hex]
    recordings: list[Hex]
