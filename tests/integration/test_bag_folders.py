"""Bags of rosbag2 in the readable tree: whatever came with them, a reader of rosbag2 opens what is shown."""

import shutil
from pathlib import Path

import pytest
import yaml
from rosbags.rosbag2 import Reader

from materializer.bodies import AttachmentAdd, ChunkAdd, attachment_add, chunk_add, recording_create, recording_finalize
from materializer.manifest import RecordingFacts, make_manifest
from materializer.mcap_index import read_index
from materializer.rosbag import BagFile, write_metadata
from peer.core.identity import EventId
from tests.histories import create_body
from tests.integration.test_recording_tree import home, snapshot
from tests.integration.views_site import ViewsSite, running_views
from tests.samples import GROUP, SampleLog
from tests.unit.materializer.test_rosbag import write_bag


async def add_bag(site: ViewsSite, paths: list[Path], names: list[str], metadata: bytes | None) -> EventId:
    """A finished recording of these files under these names, with the metadata of its recorder."""
    log, body = SampleLog("alice"), create_body("drive")
    begun = log.write(recording_create(body))
    recording = begun.last.id
    chunks = []
    for number, path in enumerate(paths):
        index = read_index(path)
        facts = await site.blobs.ingest(path, take="copy")
        fields = (index.message_count, index.start_ns, index.end_ns, index.library, index.profile, [(*topic,) for topic in index.topics])
        chunks.append(ChunkAdd(recording, number, names[number], *facts, *fields))
    kept = [await site.blobs.ingest_bytes(metadata)] if metadata is not None else []
    written = log.write(*(chunk_add(chunk) for chunk in chunks), *(attachment_add(recording, "metadata.yaml", each) for each in kept))
    attachments = [AttachmentAdd(recording, "metadata.yaml", *each) for each in kept]
    manifest = make_manifest(RecordingFacts(GROUP, recording, log.author.peer_id, body), chunks, attachments)
    ids = [event.id for event in written.events]
    final = log.write(recording_finalize(recording, manifest.manifest_id, ids[: len(chunks)], others=ids[len(chunks) :]))
    for run in (begun, written, final):
        await site.store.append(log.certificate, run)
    await site.materializer.reached(site.store.position)
    await site.tree.refresh(GROUP, [recording])
    return recording


def opened(folder: Path) -> int:
    """How many messages a reader of rosbag2 reads in a folder."""
    with Reader(folder) as reader:
        count = sum(1 for _ in reader.messages())
        assert count == reader.message_count
    return count


@pytest.fixture
def bag(tmp_path: Path) -> list[Path]:
    return write_bag(tmp_path / "bag", {"/a": {}, "/b": {}})


async def test_a_bag_without_metadata_gets_one(tmp_path: Path, bag: list[Path]) -> None:
    async with running_views(tmp_path / "data") as site:
        recording = await add_bag(site, bag, [path.name for path in bag], None)
        folder = home(site) / "drive"
        assert sorted(path.name for path in folder.iterdir()) == [*(path.name for path in bag), "manifest.cbor", "manifest.json", "metadata.yaml"]
        assert opened(folder) == 30
        before = snapshot(folder)
        await site.tree.refresh(GROUP, [recording])
        assert snapshot(folder) == before, "what is right is left alone"
        (folder / "metadata.yaml").chmod(0o644)
        (folder / "metadata.yaml").write_bytes(b"wrong")
        await site.tree.refresh(GROUP, [recording])
        assert {name: data for name, (_, data) in snapshot(folder).items()} == {name: data for name, (_, data) in before.items()}
        (folder / "metadata.yaml").unlink()
        await site.tree.refresh(GROUP, [recording])
        assert opened(folder) == 30


async def test_metadata_that_fit_are_shown_as_they_came(tmp_path: Path, bag: list[Path]) -> None:
    kept = write_metadata([BagFile(path.name, path) for path in bag], bytes(32)).split(b"\n", 1)[1]
    async with running_views(tmp_path / "data") as site:
        recording = await add_bag(site, bag, [path.name for path in bag], kept)
        folder = home(site) / "drive"
        assert (folder / "metadata.yaml").read_bytes() == kept
        assert not (folder / "metadata.original.yaml").exists()
        before = snapshot(folder)
        await site.tree.refresh(GROUP, [recording])
        assert snapshot(folder) == before
        assert opened(folder) == 30


async def test_metadata_of_files_that_are_called_otherwise_here_lie_beside_some_that_fit(tmp_path: Path, bag: list[Path]) -> None:
    """A name with a blank cannot be one here: the file has another, and its recorder's metadata are of no use to a reader."""
    names = ["test drive_0.mcap", "test drive_1.mcap", "drive_2.mcap"]
    (tmp_path / "old").mkdir()
    for path, name in zip(bag, names, strict=True):
        shutil.copy(path, tmp_path / "old" / name)
    kept = write_metadata([BagFile(name, tmp_path / "old" / name) for name in names], bytes(32))
    async with running_views(tmp_path / "data") as site:
        recording = await add_bag(site, bag, names, kept)
        folder = home(site) / "drive"
        shown = {path.name for path in folder.iterdir()}
        assert (folder / "metadata.original.yaml").read_bytes() == kept
        document = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        assert set(document["relative_file_paths"]) == shown - {"manifest.cbor", "manifest.json", "metadata.yaml", "metadata.original.yaml"}
        assert opened(folder) == 30
        before = snapshot(folder)
        await site.tree.refresh(GROUP, [recording])
        assert snapshot(folder) == before
