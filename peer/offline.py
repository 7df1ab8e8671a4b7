"""What works on a data directory on which no peer runs: check it, compute its projections anew, export them, make and check backups."""

import asyncio
import json
from pathlib import Path

from peer.blobs.store import FileBlobStore
from peer.logs import set_up_logs
from peer.one_error import one_error
from peer.operations.groups import Groups
from peer.store import backup, backup_verification
from peer.store.database import remove_database
from peer.store.directory import DataDirectory
from peer.store.keys import KeyFiles
from peer.store.ledger import read_ledger
from peer.wiring.checking import make_verification
from peer.wiring.core import opened_core


async def verify(root: Path, *, deep: bool) -> dict[str, object]:
    """Check the data directory `root`, on which no peer runs. Changes nothing."""
    directory = _idle(root)
    with directory.lock():
        key = KeyFiles(directory.keys).peer_key()
        ledger = read_ledger(directory.ledger)
        blobs = FileBlobStore(directory.blobs, ledger)
        try:
            return await make_verification(directory, key.peer_id, blobs).verify(deep=deep)
        finally:
            blobs.close()
            if ledger is not None:
                ledger.close()


async def rebuild(root: Path) -> dict[str, object]:
    """Compute the projections of the data directory `root`, on which no peer runs, anew."""
    directory = _idle(root)
    with one_error(), directory.lock():
        remove_database(directory.views_database)
        async with opened_core(directory) as core:
            groups = Groups(core.key.peer_id, "", (core.store, core.store.replica, core.views))
            return {"groups": [{**group, "view_events": group["events"]} for group in await groups.all()]}


async def state(root: Path, group: str, *, as_json: bool) -> bytes:
    """The canonical export of a group in the data directory `root`, on which no peer runs."""
    directory = _idle(root)
    with one_error(), directory.lock():
        async with opened_core(directory) as core:
            cbor, document = await Groups(core.key.peer_id, "", (core.store, core.store.replica, core.views)).state(group)
            return json.dumps(document).encode() if as_json else cbor


async def create_backup(root: Path, folder: Path) -> dict[str, object]:
    """Make a backup of the data directory `root`, on which no peer runs, in `folder`."""
    directory = _idle(root)
    with directory.lock():
        made = await asyncio.to_thread(backup.create_backup, directory, folder)
        return made.to_json()


async def verify_backup(folder: Path) -> dict[str, object]:
    """Check the backup in `folder`. Changes nothing."""
    return (await backup_verification.verify_backup(folder)).to_json()


def _idle(root: Path) -> DataDirectory:
    """The data directory `root`, on which no peer runs, to be worked on for a moment."""
    directory = DataDirectory(root)
    directory.open()
    set_up_logs("warning", "text")
    return directory
