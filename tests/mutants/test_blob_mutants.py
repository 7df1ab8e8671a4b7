"""Planted bugs in who is given bytes, over which carrier, and which bytes are believed. Each must be caught by a test of blobs on real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from peer.blobs import transfer
from peer.blobs.partial import PartialFile
from peer.blobs.store import FileBlobStore
from peer.blobs.transfer import Fetcher
from peer.core.byte_store import BlobFacts
from peer.errors import BlobMismatchError
from peer.operations.provenance import Provenance
from peer.transport.blob_routes import BlobRoutes
from peer.transport.signatures import Nonces, RequestVerifier
from tests.blob_site import MIB, Site, serving, write_file
from tests.integration import test_blob_access as access
from tests.integration import test_blob_transfer as transfers
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.operations import test_provenance as provenance


def serve_a_blob_to_a_non_member(patch: pytest.MonkeyPatch) -> None:
    """A good signature is enough, whosever it is."""
    change(patch, BlobRoutes._is_member, ("view is not None and view.roster.role(peer) is not Role.NONE", "view is not None"))


def serve_a_blob_of_another_group(patch: pytest.MonkeyPatch) -> None:
    """A member of one group is given whatever is stored."""
    checks = ("not await self._blob_in_group(group, blob) or not", "not"), (" and await self._may_give(group, blob)", "")
    change(patch, BlobRoutes.answer, *checks)


def give_what_came_in_another_group(patch: pytest.MonkeyPatch) -> None:
    """Who names bytes in a group of its own is given them."""
    change(patch, Provenance.may_give, ("if any(file.site == self._peer for file in files) or", "if files or"))


def take_a_nonce_twice(patch: pytest.MonkeyPatch) -> None:
    """A nonce that was used stays good."""
    patch.setattr(Nonces, "spend", lambda *_arguments: None)


def take_a_request_for_another_peer(patch: pytest.MonkeyPatch) -> None:
    """A request that somebody else was sent may be passed on."""
    destination = "result.covered_components[f'\"{DESTINATION_HEADER.lower()}\"'] != self._me.hex()"
    change(patch, RequestVerifier.identify, (destination, "False"))


def take_any_certificate(patch: pytest.MonkeyPatch) -> None:
    """TLS with anybody will do."""
    patch.setattr("peer.transport.pinning.check_pin", lambda *_arguments: b"")


def count_a_piece_unverified(patch: pytest.MonkeyPatch) -> None:
    """A piece counts once its bytes are there."""
    change(patch, PartialFile.take, ("hash_bytes(data) != self._piece_hashes[piece]", "False"))


def believe_pieces_that_a_crash_left(patch: pytest.MonkeyPatch) -> None:
    """What lies in a partial file counts without being hashed again."""
    patch.setattr(PartialFile, "_is_whole", lambda *_arguments: True)


def name_a_file_before_its_hash_is_checked(patch: pytest.MonkeyPatch) -> None:
    """A file has its name as soon as all pieces are right."""
    check = "if await self._thread(file.finish) != (wanted.blob, wanted.sha256):"
    name = 'await self._thread(lambda _: self._store.adopt(wanted.blob, file.path, "fetch"))'
    change(
        patch,
        transfer._Fetch._finish,
        (check, f"digests = await self._thread(file.finish)\n    {name}\n    if digests != (wanted.blob, wanted.sha256):"),
    )


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[tuple[Site, access.Asker, BlobFacts]]:
    """A site that serves one blob, and somebody who asks it."""
    async with serving(folder / "served") as site, aiohttp.ClientSession(auto_decompress=False) as session:
        yield site, access.Asker(session, site), await site.add(write_file(folder / "source", 3 * MIB + 17))


def asked(test: Callable[[access.Asker, BlobFacts], Awaitable[None]]) -> Check:
    """`test` with what it asks for."""

    async def check(folder: Path) -> None:
        async with asking(folder) as (_, asker, facts):
            await test(asker, facts)

    return check


async def named_elsewhere(folder: Path) -> None:
    await provenance.test_what_this_site_added_is_given_where_it_did_whatever_others_name(FileBlobStore(folder))


async def other_groups(folder: Path) -> None:
    """What came here in another group is not there."""
    async with asking(folder) as (site, asker, facts):
        await access.test_a_blob_of_another_group_is_not_there(site, asker, facts, folder)


@contextmanager
def fetching(folder: Path) -> Iterator[tuple[FileBlobStore, Fetcher]]:
    """An empty store, and what fetches into it."""
    store = FileBlobStore(folder / "blobs")
    fetcher = Fetcher(store)
    try:
        yield store, fetcher
    finally:
        fetcher.close()
        store.close()


async def wrong_pieces(folder: Path) -> None:
    """A wrong piece is noticed when it comes, and what was right is kept."""
    async with serving(folder / "served") as site:
        facts = await site.add(write_file(folder / "source", transfers.SIZE))
        with fetching(folder) as (store, fetcher):
            await transfers.test_without_a_good_source_the_fetch_fails_and_keeps_what_was_right(site, facts, store, fetcher)


async def torn_pieces(folder: Path) -> None:
    """A piece that a crash tore is fetched again."""
    async with serving(folder / "served") as site:
        facts = await site.add(write_file(folder / "source", transfers.SIZE))
        with fetching(folder) as (store, fetcher):
            await transfers.test_pieces_torn_by_a_crash_are_fetched_again_and_no_others(folder, site, facts, store, fetcher, 2)


async def wrong_names(folder: Path) -> None:
    """Right pieces get no name that is not theirs."""
    async with serving(folder / "served") as site:
        facts = await site.add(write_file(folder / "source", transfers.SIZE))
        for field in ("sha256", "blob"):
            with fetching(folder / field) as (store, fetcher):
                await transfers.test_an_event_that_contradicts_itself_brings_nothing(site, facts, store, fetcher, field)


MUTANTS = (
    Mutant(serve_a_blob_to_a_non_member, asked(access.test_a_stranger_learns_nothing)),
    Mutant(serve_a_blob_of_another_group, other_groups),
    Mutant(give_what_came_in_another_group, named_elsewhere),
    Mutant(take_a_nonce_twice, asked(access.test_a_replayed_request_is_refused)),
    Mutant(take_a_request_for_another_peer, asked(access.test_unsigned_requests_and_those_for_another_peer_are_refused_with_a_nonce)),
    Mutant(take_any_certificate, access.test_a_listener_with_another_key_gets_no_request),
    Mutant(count_a_piece_unverified, wrong_pieces),
    Mutant(believe_pieces_that_a_crash_left, torn_pieces, (BlobMismatchError,)),
    Mutant(name_a_file_before_its_hash_is_checked, wrong_names),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_bytes_are_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
