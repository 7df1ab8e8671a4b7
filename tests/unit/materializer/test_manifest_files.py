"""A folder of a recording against its manifest, whatever happened to it on the way."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from materializer.bodies import AttachmentAdd
from materializer.manifest import RecordingFacts, make_manifest
from materializer.manifest_files import check_folder
from peer.core.identity import EventId, GroupId, PeerId
from peer.errors import FileUnreadableError, ManifestInvalidError, MeshError
from tests.histories import chunk_body, create_body, facts_of

FACTS = RecordingFacts(GroupId(b"g" * 32), EventId(b"r" * 32), PeerId(b"p" * 32), create_body("run-1"))


@pytest.fixture(params=[1, 2])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A recording of two chunks and an attachment, with both manifests."""
    chunks = [chunk_body(FACTS.recording, number, facts=facts_of(b"chunk %d" % number)) for number in range(2)]
    manifest = make_manifest(FACTS, chunks, [AttachmentAdd(FACTS.recording, "metadata.yaml", *facts_of(b"yaml"))], version=request.param)
    for name, data in (("bag_0.mcap", b"chunk 0"), ("bag_1.mcap", b"chunk 1"), ("metadata.yaml", b"yaml")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "manifest.cbor").write_bytes(manifest.cbor)
    (tmp_path / "manifest.json").write_bytes(manifest.json)
    return tmp_path


def states(path: Path) -> dict[str, str]:
    return {file.name: file.state for file in check_folder(path).files}


def test_a_whole_copy_is_good_by_either_manifest(folder: Path) -> None:
    for path in (folder, folder / "manifest.cbor", folder / "manifest.json"):
        assert states(path) == {"bag_0.mcap": "good", "bag_1.mcap": "good", "metadata.yaml": "good"}
    (folder / "manifest.cbor").unlink()
    assert set(states(folder).values()) == {"good"}


def test_files_that_are_missing_or_changed_are_told(folder: Path) -> None:
    (folder / "bag_0.mcap").unlink()
    (folder / "bag_1.mcap").write_bytes(b"chunk X")
    (folder / "metadata.yaml").write_bytes(b"yaml and more")
    assert states(folder) == {"bag_0.mcap": "missing", "bag_1.mcap": "different", "metadata.yaml": "different"}


WRONG: list[tuple[Callable[[Path], object], type[MeshError]]] = [
    (lambda folder: [path.unlink() for path in folder.glob("manifest.*")], FileUnreadableError),
    (lambda folder: (folder / "manifest.cbor").write_bytes(b""), ManifestInvalidError),
    (lambda folder: _edit(folder, lambda document: document.update(machine="other")), ManifestInvalidError),
    (lambda folder: _edit(folder, lambda document: document["chunks"][0].update(name="../bag_0.mcap"), alone=True), ManifestInvalidError),
    (lambda folder: _edit(folder, lambda document: document["attachments"][0].update(name=".."), alone=True), ManifestInvalidError),
]


@pytest.mark.parametrize(("change", "error"), WRONG, ids=["none", "empty", "not the same", "a path", "the folder above"])
def test_manifests_that_cannot_be_relied_on_are_refused(folder: Path, change: Callable[[Path], object], error: type[MeshError]) -> None:
    change(folder)
    with pytest.raises(error):
        check_folder(folder)


def _edit(folder: Path, change: Callable[[dict[str, list[dict[str, object]]]], object], *, alone: bool = False) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    if alone:
        (folder / "manifest.cbor").unlink()


def test_what_may_not_be_read_says_so(folder: Path) -> None:
    with pytest.raises(FileUnreadableError):
        check_folder(folder / "none.json")
    if os.geteuid() != 0:
        (folder / "bag_0.mcap").chmod(0)
        with pytest.raises(FileUnreadableError):
            check_folder(folder)
