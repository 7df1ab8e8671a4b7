"""What the admin API asks of the rest of the peer. Documents go in and out as JSON holds them; how they come about is not its business."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from peer.api.bag_services import ExportingService, RecoveringService
from peer.api.drop_services import DroppingService
from peer.api.editing_services import EditingService, MachineService, SettingValue
from peer.api.ingest_services import OpeningService, WatchService
from peer.api.network_services import NetworkPolicyService, NetworkService
from peer.api.policy_services import PolicyService
from peer.api.reconcile_services import ReconcilingService
from peer.api.retention_services import RetainingService
from peer.api.stream_routes import StreamService
from peer.api.transfer_services import CountingService, TransferService
from peer.core.access import Caller
from peer.core.identity import EventId, GroupId
from peer.core.message_order import MessageService, RateService
from peer.errors import MeshError

Json = dict[str, object]


class GroupService(Protocol):
    """Groups."""

    async def create(self, name: str, owners: Sequence[str]) -> Json:
        """Begin one."""
        ...

    async def all(self) -> list[Json]:
        """All of them."""
        ...

    async def show(self, reference: str) -> Json:
        """One of them."""
        ...

    async def describe(self, group: GroupId) -> Json:
        """One of them, by its id."""
        ...

    async def resync(self, reference: str) -> Json:
        """Compare everything of one with every peer again."""
        ...

    async def state(self, reference: str) -> tuple[bytes, object]:
        """The canonical export of one, as CBOR and as JSON."""
        ...


class JoiningService(Protocol):
    """Becoming a member."""

    async def invite(self, reference: str, role: str, expires_in_ms: int) -> Json:
        """Make an invitation."""
        ...

    async def join(self, text: str, *, wait: bool, timeout_ms: int) -> GroupId:
        """Use an invitation."""
        ...


class InvitationService(Protocol):
    """Invitations that were made."""

    def all(self, reference: str) -> list[Json]:
        """Those of a group."""
        ...

    async def revoke(self, reference: str, invitation: str) -> Json:
        """Take one back."""
        ...


class MembershipService(Protocol):
    """Who is in a group."""

    async def change(self, reference: str, member: str, role: str, *, since_ms: int | None, dry_run: bool) -> Json:
        """Give somebody another role."""
        ...

    async def remove(self, reference: str, member: str, *, since_ms: int | None, dry_run: bool) -> Json:
        """Remove somebody."""
        ...


class LeavingService(Protocol):
    """Going."""

    async def leave(self, reference: str, *, now: bool, timeout_ms: int) -> Json:
        """Leave a group."""
        ...


class SettingService(Protocol):
    """What is set for a whole group."""

    async def all(self, reference: str) -> list[Json]:
        """All settings of one."""
        ...

    async def set(self, reference: str, key: str, value: SettingValue) -> Json:
        """Change one of them."""
        ...


class LogService(Protocol):
    """What counts of what was written."""

    async def void(self, reference: str, event: str) -> Json:
        """Let an event count no more."""
        ...

    async def rotate(self, reference: str, sealed: str | None) -> Json:
        """Open new logs."""
        ...


class EventPage(Protocol):
    """Some events."""

    @property
    def events(self) -> list[Json]:
        """In order."""
        ...

    @property
    def next(self) -> int:
        """Where to go on."""
        ...


class EventService(Protocol):
    """The history."""

    async def page(self, reference: str, after: int, limit: int) -> EventPage:
        """A part of it."""
        ...

    def follow(self, reference: str, after: int) -> AsyncGenerator[Json | None, None]:
        """It, as it grows; None now and then."""
        ...


class RecordingService(Protocol):
    """Recordings."""

    async def add(self, order: Json) -> EventId:
        """Add one; the members of `order` are those of the request."""
        ...

    async def page(self, filters: Json, limit: int, cursor: str | None) -> Json:
        """Those that fit."""
        ...

    async def show(self, reference: str) -> Json:
        """One of them."""
        ...

    async def fetch(self, reference: str) -> Json:
        """Begin to bring its bytes here."""
        ...

    async def manifest(self, reference: str) -> tuple[bytes, bytes]:
        """Its manifest, as CBOR and as JSON."""
        ...

    def manifest_schema(self) -> str:
        """What the JSON of manifests looks like, as JSON Schema."""
        ...

    async def chunk(self, reference: str, index: int) -> tuple[Path, str]:
        """Where the bytes of a chunk are, and their hash in hex."""
        ...


class PeerService(Protocol):
    """Other peers."""

    def all(self) -> list[Json]:
        """All that are known."""
        ...

    def show(self, reference: str) -> Json:
        """One of them."""
        ...

    async def add(self, peer_id: str, name: str, endpoint: str | None, groups: Sequence[str], role: str) -> Json:
        """Share groups with one more."""
        ...

    async def set_paused(self, reference: str, *, paused: bool) -> Json:
        """Keep no link to one, or do again."""
        ...

    async def remove(self, reference: str) -> Json:
        """Forget the address of one."""
        ...

    async def test(self, reference: str) -> Json:
        """Say how far one can be reached."""
        ...

    async def pending(self) -> list[Json]:
        """Who knocked."""
        ...

    async def decide(self, reference: str, action: str, group: str | None, role: str) -> Json:
        """Accept or ignore somebody who knocked."""
        ...


class SiteService(Protocol):
    """This peer."""

    async def status(self) -> Json:
        """How it is."""
        ...

    async def verify(self, *, deep: bool) -> Json:
        """Check what is stored."""
        ...

    async def rebuild(self) -> Json:
        """Compute the projections anew."""
        ...

    @property
    def is_ready(self) -> bool:
        """True if the log can be written."""
        ...


class TokenService(Protocol):
    """Tokens of this API."""

    def identify(self, secret: str) -> Caller | None:
        """Whose token this is; None if it is nobody's."""
        ...

    def create(self, name: str, tier: str, expires_in_ms: int) -> Json:
        """A new one, with its secret."""
        ...

    def all(self) -> list[Json]:
        """All of them, without their secrets."""
        ...

    def revoke(self, name: str) -> Json:
        """Take one back."""
        ...

    @property
    def problem(self) -> MeshError | None:
        """Why none of them is valid, if that is so."""
        ...


class AuditService(Protocol):
    """The record of who changed what."""

    def write(self, entry: Mapping[str, object]) -> None:
        """Append to it. Never raises."""
        ...

    @property
    def problem(self) -> MeshError | None:
        """Why it cannot be written, if it cannot."""
        ...


class PathService(Protocol):
    """Which paths of this machine may be named in requests."""

    async def allowed(self, caller: Caller, paths: Sequence[str]) -> list[str]:
        """The paths as they really are. Raises `PathNotAllowedError` for those that `caller` may not name."""
        ...


class BackupService(Protocol):
    """Backups of this peer."""

    async def create(self, folder: str) -> Json:
        """Make one."""
        ...

    async def verify(self, folder: str) -> Json:
        """Check one."""
        ...


class HubService(Protocol):
    """This peer as a hub for others."""

    def keys(self) -> list[Json]:
        """All pre-auth keys, without their secrets."""
        ...

    async def create_key(self, hive: str | None, uses: int, expires_in_ms: int) -> Json:
        """A new one, with its secret."""
        ...

    async def revoke_key(self, key: str) -> Json:
        """Take one back."""
        ...

    def peers(self) -> list[Json]:
        """Who came with a key."""
        ...

    async def forget(self, reference: str) -> Json:
        """Let one of them be nobody."""
        ...


class Services(NamedTuple):
    """All of them."""

    site: SiteService
    groups: GroupService
    joining: JoiningService
    invitations: InvitationService
    membership: MembershipService
    logs: LogService
    leaving: LeavingService
    settings: SettingService
    peers: PeerService
    events: EventService
    recordings: RecordingService
    editing: EditingService
    retaining: RetainingService
    machines: MachineService
    tokens: TokenService
    audit: AuditService
    paths: PathService
    backups: BackupService
    hub: HubService
    opening: OpeningService
    watch: WatchService
    policies: PolicyService
    transfers: TransferService
    network: NetworkService
    network_policy: NetworkPolicyService
    messages: MessageService
    rates: RateService
    recovering: RecoveringService
    exporting: ExportingService
    reconciling: ReconcilingService
    dropping: DroppingService
    counting: CountingService
    stream: StreamService
