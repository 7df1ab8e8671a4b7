"""The readable tree: real files of real recordings, from the log to the folder."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mcap.reader import make_reader

from materializer.bodies import AttachmentAdd, ChunkAdd, attachment_add, chunk_add, recording_create, recording_finalize
from materializer.manifest import RecordingFacts, make_manifest
from materializer.mcap_index import read_index
from peer.core.hashing import hash_bytes, sha256
from peer.core.identity import EventId
from tests.histories import create_body
from tests.integration.views_site import ViewsSite, running_views
from tests.mcap_samples import REAL_RECORDINGS, read_raw, write_mcap
from tests.patience import PATIENCE_S
from tests.samples import GROUP, SampleLog

REAL_BAG = sorted(REAL_RECORDINGS.glob("wbag_*.mcap"))
DETAILS = ["manifest.cbor", "manifest.json"]
BAG = ["metadata.original.yaml", "metadata.yaml"]
"""The one that came with the bag names no files: one that does is written."""


async def add(site: ViewsSite, log: SampleLog, files: list[Path], *, name: str = "run", names: list[str] | None = None) -> EventId:
    """Add a recording of these MCAP files, with one attachment, as a peer does it."""
    body = create_body(name)
    begun = log.write(recording_create(body))
    recording = begun.last
    await site.store.append(log.certificate, begun)
    chunks = []
    for number, path in enumerate(files):
        index = read_index(path)
        facts = await site.blobs.ingest(path, take="copy")
        source_name = names[number] if names else path.name
        fields = (index.message_count, index.start_ns, index.end_ns, index.library, index.profile, [(*topic,) for topic in index.topics])
        chunks.append(ChunkAdd(recording.id, number, source_name, *facts, *fields))
    yaml = await site.blobs.ingest_bytes(b"rosbag2_bagfile_information: {}")
    written = log.write(*(chunk_add(chunk) for chunk in chunks), attachment_add(recording.id, "metadata.yaml", yaml))
    await site.store.append(log.certificate, written)
    attachments = [AttachmentAdd(recording.id, "metadata.yaml", *yaml)]
    manifest = make_manifest(RecordingFacts(GROUP, recording.id, log.author.peer_id, body), chunks, attachments)
    final = log.write(recording_finalize(recording.id, manifest.manifest_id, [event.id for event in written.events[: len(chunks)]]))
    await site.store.append(log.certificate, final)
    await site.materializer.reached(site.store.position)
    return recording.id


def home(site: ViewsSite) -> Path:
    return site.directory.recordings / f"field-tests-{GROUP.hex()[:8]}"


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.needs("real recordings")
@pytest.mark.skipif(len(REAL_BAG) < 5, reason="real recordings are not here: ../shared/recordings is missing")
async def test_a_real_bag_is_shown_byte_for_byte_and_a_reader_opens_it(tmp_path: Path) -> None:
    async with running_views(tmp_path / "data") as site:
        recording = await add(site, SampleLog("alice"), REAL_BAG, name="wbag")
        await site.tree.refresh(GROUP, [recording])
        folder = home(site) / "wbag"
        assert sorted(path.name for path in folder.iterdir()) == [*DETAILS, *BAG, *(path.name for path in REAL_BAG)]
        counts: dict[str, int] = {}
        for original in REAL_BAG:
            assert (folder / original.name).read_bytes() == original.read_bytes()
            for topic, count in read_raw(original.read_bytes()).counts.items():
                counts[topic] = counts.get(topic, 0) + count
            with (folder / original.name).open("rb") as file:
                assert sum(1 for _ in make_reader(file).iter_messages()) == sum(read_raw(original.read_bytes()).counts.values())
        manifest = json.loads((folder / "manifest.json").read_bytes())
        assert {topic["topic"]: topic["message_count"] for topic in manifest["channels"]} == counts
        view = await site.views.recording(GROUP, recording)
        assert view is not None
        assert view.manifest_id == hash_bytes((folder / "manifest.cbor").read_bytes())
        assert {topic[0]: topic[4] for topic in view.topics} == counts


async def test_files_are_links_to_the_bytes_and_take_no_space(tmp_path: Path) -> None:
    async with running_views(tmp_path / "data") as site:
        recording = await add(site, SampleLog("alice"), [write_mcap(tmp_path / "a.mcap")])
        await site.tree.refresh(GROUP, [recording])
        view = await site.views.recording(GROUP, recording)
        assert view is not None
        assert (home(site) / "run" / "a.mcap").samefile(site.blobs.path(view.chunks[0].blob))


async def test_what_is_right_is_left_alone_and_what_is_wrong_is_repaired(tmp_path: Path) -> None:
    async with running_views(tmp_path / "data") as site:
        recording = await add(site, SampleLog("alice"), [write_mcap(tmp_path / "a.mcap"), write_mcap(tmp_path / "b.mcap", messages=5)])
        await site.tree.refresh_all(GROUP)
        folder = home(site) / "run"
        right = snapshot(folder)
        node = folder.stat().st_ino
        await site.tree.refresh_all(GROUP)
        assert (snapshot(folder), folder.stat().st_ino) == (right, node)
        contents = {name: data for name, (_, data) in right.items()}
        damages = 0
        for damage in (
            (folder / "a.mcap").unlink,
            lambda: (folder / "extra").write_bytes(b"x"),
            (folder / "extra").mkdir,
            lambda: _replace(folder / "b.mcap", b"wrong"),
            lambda: _replace(folder / "manifest.json", b"{}"),
            lambda: _replace(folder / "manifest.cbor", b""),
            lambda: (shutil.rmtree(folder), folder.symlink_to(tmp_path)),
            lambda: (folder.unlink() if folder.is_symlink() else shutil.rmtree(folder), folder.write_bytes(b"a file")),
            lambda: (folder / "a.mcap").rename(folder / "A.mcap"),
        ):
            damage()
            await site.tree.refresh(GROUP, [recording])
            assert {name: data for name, (_, data) in snapshot(folder).items()} == contents
            damages += 1
        assert damages == 9
        assert (tmp_path / "a.mcap").exists(), "nothing outside was touched"


async def test_no_folder_is_there_before_all_bytes_are(tmp_path: Path) -> None:
    async with running_views(tmp_path / "data") as site:
        recording = await add(site, SampleLog("alice"), [write_mcap(tmp_path / "a.mcap"), write_mcap(tmp_path / "b.mcap", messages=3)])
        view = await site.views.recording(GROUP, recording)
        assert view is not None
        path = site.blobs.path(view.chunks[1].blob)
        path.rename(tmp_path / "away")
        await site.tree.refresh_all(GROUP)
        assert not (home(site) / "run").exists()
        (tmp_path / "away").rename(path)
        await site.tree.refresh_all(GROUP)
        assert (home(site) / "run" / "b.mcap").is_file()
        path.unlink()
        await site.tree.refresh_all(GROUP)
        assert not (home(site) / "run").exists(), "bytes that were dropped are not kept by the tree"


async def test_names_from_elsewhere_never_leave_the_folder(tmp_path: Path) -> None:
    files = [write_mcap(tmp_path / f"{number}.mcap", messages=number + 1) for number in range(6)]
    names = ["../../../escape.mcap", "/etc/passwd", "..", "manifest.json", "ok.mcap", "METADATA.yaml"]
    async with running_views(tmp_path / "data") as site:
        before = {path for path in tmp_path.rglob("*") if site.directory.recordings not in path.parents}
        recording = await add(site, SampleLog("alice"), files, names=names)
        await site.tree.refresh(GROUP, [recording])
        shown = sorted(path.name for path in (home(site) / "run").iterdir())
        made = [name for name in shown if name.startswith("chunk-")]
        assert len(made) == 5
        attached = f"attachment-000000-{_sha(b'rosbag2_bagfile_information: {}')}"
        assert set(shown) - set(made) - set(DETAILS) - {"metadata.yaml"} == {"ok.mcap", attached}
        after = {path for path in tmp_path.rglob("*") if site.directory.recordings not in path.parents}
        assert {path for path in after - before if site.directory.blobs not in path.parents} == set()
        assert not list(tmp_path.rglob("escape.mcap"))


async def test_two_recordings_of_one_name_have_two_folders(tmp_path: Path) -> None:
    """The later one's carries a short id, whichever arrives first, and compared without case."""
    first, second = SampleLog("alice"), SampleLog("alice", label="second")
    second.clock_ms += 1000
    async with running_views(tmp_path / "data") as site:
        later = await add(site, second, [write_mcap(tmp_path / "b.mcap", messages=3)], name="RUN")
        await site.tree.refresh(GROUP, [later])
        assert [path.name for path in home(site).iterdir()] == ["RUN"]
        touched: list[set[EventId]] = []
        site.materializer.subscribe(lambda recordings: touched.append({recording for _, recording in recordings}))
        earlier = await add(site, first, [write_mcap(tmp_path / "a.mcap")], name="run")
        await site.tree.refresh(GROUP, set().union(*touched))
        assert {path.name for path in home(site).iterdir()} == {"run", f"RUN-{later.hex()[:8]}"}
        await site.tree.refresh_all(GROUP)
        assert {path.name for path in home(site).iterdir()} == {"run", f"RUN-{later.hex()[:8]}"}
        assert earlier != later
        assert (home(site) / "run" / "a.mcap").is_file()
        assert (home(site) / f"RUN-{later.hex()[:8]}" / "b.mcap").is_file()


async def test_strange_folders_and_files_are_left_alone_and_stale_ones_go(tmp_path: Path) -> None:
    async with running_views(tmp_path / "data") as site:
        await add(site, SampleLog("alice"), [write_mcap(tmp_path / "a.mcap")])
        await site.tree.refresh_all(GROUP)
        (home(site) / "mine").mkdir()
        (home(site) / "mine" / "notes.txt").write_text("keep")
        shutil.copytree(home(site) / "run", home(site) / "stale")
        leftover = site.directory.recordings / ".building" / "half"
        leftover.mkdir(parents=True)
        await site.tree.refresh_all(GROUP)
        assert {path.name for path in home(site).iterdir()} == {"run", "mine"}
        assert not leftover.exists()


async def test_a_kill_before_the_rename_leaves_nothing_half_done(tmp_path: Path) -> None:
    hits = 0
    for number in range(2):
        root = tmp_path / f"data-{number}"
        async with running_views(root) as site:
            await add(site, SampleLog("alice"), [write_mcap(tmp_path / "a.mcap")])
        record = tmp_path / f"hits-{number}"
        killed = _refresh_in_process(root, {"RECMESH_FAILPOINT": "tree.before_rename", "RECMESH_FAILPOINT_FILE": str(record)})
        assert killed == -9
        hits += record.read_text().splitlines().count("tree.before_rename")
        async with running_views(root) as site:
            assert not (home(site) / "run").exists()
            await site.tree.refresh_all(GROUP)
            assert sorted(path.name for path in (home(site) / "run").iterdir()) == ["a.mcap", *DETAILS, *BAG]
            assert not (site.directory.recordings / ".building").exists()
    assert hits == 2


def _refresh_in_process(root: Path, environment: dict[str, str]) -> int:
    script = (
        "import asyncio, pathlib, sys\n"
        "from tests.integration.views_site import running_views\n"
        "from tests.samples import GROUP\n"
        "async def main():\n"
        "    async with running_views(pathlib.Path(sys.argv[1])) as site:\n"
        "        await site.tree.refresh_all(GROUP)\n"
        "asyncio.run(main())\n"
    )
    top = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", script, str(root)], cwd=top, env={**os.environ, **environment}, check=False, timeout=60).returncode


def _replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def _sha(data: bytes) -> str:
    return sha256(data).hex()[:8]


async def test_who_is_stopped_while_a_folder_is_built_waits_for_it_and_builds_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that went on would work in a directory that another process has locked by then."""
    builds, go_on = threading.Event(), threading.Event()

    def held_up(point: str) -> None:
        assert point == "tree.before_rename"
        builds.set()
        assert go_on.wait(PATIENCE_S)

    async with running_views(tmp_path / "data") as site:
        log = SampleLog("alice")
        recordings = [await add(site, log, [write_mcap(tmp_path / f"{name}.mcap")], name=name) for name in ("one", "two")]
        monkeypatch.setattr("materializer.files.failpoint", held_up)
        refreshing = asyncio.create_task(site.tree.refresh(GROUP, recordings))
        assert await asyncio.to_thread(builds.wait, PATIENCE_S)
        refreshing.cancel()
        await asyncio.wait([refreshing], timeout=0.1)

        assert not refreshing.done()
        go_on.set()
        await asyncio.wait([refreshing], timeout=PATIENCE_S)
        assert refreshing.cancelled()
        assert len(list(home(site).iterdir())) == 1
