"""Bytes are given in a group where they came in it: named there is not enough where another group names them, too."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from peer.blobs.store import FileBlobStore
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import GroupView, WantedBlob
from peer.operations.provenance import Provenance
from tests.samples import key_pair

ME, OTHER = key_pair("alice").peer_id, key_pair("bob").peer_id
RED, BLUE = GroupId(b"r" * 32), GroupId(b"b" * 32)
BLOB, PIECES = BlobId(b"x" * 32), BlobId(b"y" * 32)


class Claims:
    """What the events of each group say."""

    def __init__(self, *claims: tuple[GroupId, PeerId]) -> None:
        self._files = [WantedBlob(group, EventId(b"e" * 32), BLOB, 1, 2**20, PIECES, bytes(32), site) for group, site in claims]

    async def files_with(self, group: GroupId, blob: BlobId) -> list[WantedBlob]:
        return [file for file in self._files if file.group == group and blob in (file.blob, file.pieces)]


class TwoGroups:
    """As far as it is asked for here: which groups there are."""

    @property
    def groups(self) -> Mapping[GroupId, GroupView]:
        return {RED: None, BLUE: None}  # type: ignore[dict-item]

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        raise AssertionError(group, peer)


@pytest.fixture
def store(tmp_path: Path) -> FileBlobStore:
    return FileBlobStore(tmp_path)


async def given(store: FileBlobStore, *claims: tuple[GroupId, PeerId]) -> set[GroupId]:
    """In which groups both the blob and its piece list are given, by what events claim."""
    provenance = Provenance(ME, TwoGroups(), Claims(*claims), store)
    found = {group for group in (RED, BLUE) if await provenance.may_give(group, BLOB)}
    assert found == {group for group in (RED, BLUE) if await provenance.may_give(group, PIECES)}
    return found


async def test_what_one_group_names_is_given_there_and_what_none_names_nowhere(store: FileBlobStore) -> None:
    assert await given(store, (RED, OTHER)) == {RED}
    assert await given(store) == set()


async def test_what_this_site_added_is_given_where_it_did_whatever_others_name(store: FileBlobStore) -> None:
    assert await given(store, (RED, ME), (BLUE, OTHER)) == {RED}
    assert await given(store, (RED, ME), (BLUE, OTHER), (BLUE, ME)) == {RED, BLUE}


async def test_what_was_fetched_in_a_group_is_given_there_after_a_restart_as_well(store: FileBlobStore, tmp_path: Path) -> None:
    assert await given(store, (RED, OTHER), (BLUE, OTHER)) == set()
    store.note_came(RED, BLOB, PIECES)

    assert await given(FileBlobStore(tmp_path), (RED, OTHER), (BLUE, OTHER)) == {RED}


async def test_a_mark_is_no_blob(store: FileBlobStore) -> None:
    store.note_came(RED, BLOB, PIECES)

    assert [check async for check in store.verify()] == []
    assert not store.has(BLOB)
