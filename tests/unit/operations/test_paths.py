"""Which paths of the machine a request may name."""

import contextlib
import os
from pathlib import Path

import pytest

from peer.core.access import Caller, Tier
from peer.errors import PathNotAllowedError, RequestError
from peer.operations.paths import ENTRIES_MAX, ServerPaths

OWN = Caller("admin.token", Tier.ADMIN, is_own=True)
ADMIN = Caller("boss", Tier.ADMIN)


def make_ingest(root: Path) -> Path:
    """A folder that is free, one beside it that is not, and a data directory within the free one."""
    folder = root / "ingest"
    (folder / "drive").mkdir(parents=True)
    (folder / "drive" / "a_0.mcap").touch()
    (folder / "data" / "keys").mkdir(parents=True)
    (root / "outside").mkdir()
    (root / "outside" / "secret.mcap").touch()
    return folder


@pytest.fixture
def ingest(tmp_path: Path) -> Path:
    return make_ingest(tmp_path)


@pytest.fixture
def paths(ingest: Path) -> ServerPaths:
    return ServerPaths([ingest], ingest / "data")


async def test_what_lies_in_an_ingest_folder_is_allowed_whether_or_not_it_exists(paths: ServerPaths, ingest: Path) -> None:
    asked = [str(ingest / "drive"), str(ingest / "drive" / "a_0.mcap"), str(ingest / "new" / "export"), f"{ingest}//drive/./a_0.mcap"]

    assert await paths.allowed(ADMIN, asked) == [asked[0], asked[1], asked[2], asked[1]]


@pytest.mark.parametrize("tier", [Tier.VIEWER, Tier.OPERATOR])
async def test_below_the_highest_tier_no_path_is(paths: ServerPaths, ingest: Path, tier: Tier) -> None:
    with pytest.raises(PathNotAllowedError, match="tier admin"):
        await paths.allowed(Caller("robot", tier), [str(ingest / "drive")])


def outside_paths(ingest: Path) -> dict[str, str]:
    """Ways out of the folder, each by its name."""
    outside = ingest.parent / "outside"
    (ingest / "link-to-file.mcap").symlink_to(outside / "secret.mcap")
    (ingest / "link-to-folder").symlink_to(outside)
    (ingest / "link-to-nothing").symlink_to(outside / "not-yet")
    (ingest / "bag").mkdir()
    (ingest / "bag" / "a.mcap").touch()
    (ingest / "bag" / "metadata.yaml").symlink_to(outside / "secret.mcap")
    (ingest / "link-to-keys").symlink_to(ingest / "data" / "keys")
    return {
        "elsewhere": str(outside / "secret.mcap"),
        "root": "/",
        "above": str(ingest.parent),
        "a name that begins alike": f"{ingest}-2/a.mcap",
        "dots": f"{ingest}/../outside/secret.mcap",
        "dots that come back": f"{ingest}/drive/../drive",
        "relative": "drive/a_0.mcap",
        "relative dots": "../outside/secret.mcap",
        "nothing": "",
        "home": "~/secret.mcap",
        "link to a file": str(ingest / "link-to-file.mcap"),
        "through a link": str(ingest / "link-to-folder" / "secret.mcap"),
        "link to what is not there yet": str(ingest / "link-to-nothing"),
        "folder with a link in it": str(ingest / "bag"),
        "folder with such a folder": str(ingest),
        "data directory": str(ingest / "data"),
        "keys": str(ingest / "data" / "keys"),
        "link to keys": str(ingest / "link-to-keys"),
        "process": "/proc/self/environ",
    }


async def test_no_way_leads_out(paths: ServerPaths, ingest: Path) -> None:
    for name, path in outside_paths(ingest).items():
        with pytest.raises(PathNotAllowedError) as raised:
            await paths.allowed(ADMIN, [str(ingest / "drive"), path])

        assert raised.value.fix, name
        assert "secret" not in raised.value.text


@pytest.mark.parametrize("caller", [OWN, ADMIN])
async def test_a_path_with_nul_is_none(paths: ServerPaths, ingest: Path, caller: Caller) -> None:
    with pytest.raises(RequestError):
        await paths.allowed(caller, [f"{ingest}/a\0.mcap"])


async def test_the_own_token_is_exempt(paths: ServerPaths, tmp_path: Path) -> None:
    asked = [str(tmp_path / "outside" / "secret.mcap"), "/", "relative", "../x"]

    assert await paths.allowed(OWN, asked) == asked


async def test_without_folders_nothing_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(PathNotAllowedError):
        await ServerPaths([], tmp_path / "data").allowed(ADMIN, [str(tmp_path)])


async def test_a_folder_that_is_a_link_itself_means_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mcap").touch()
    (tmp_path / "named").symlink_to(tmp_path / "real")
    paths = ServerPaths([tmp_path / "named"], tmp_path / "data")

    assert await paths.allowed(ADMIN, [str(tmp_path / "named" / "a.mcap")]) == [str(tmp_path / "real" / "a.mcap")]


async def test_a_link_that_stays_within_becomes_what_it_leads_to(paths: ServerPaths, ingest: Path) -> None:
    (ingest / "latest").symlink_to(ingest / "drive")

    assert await paths.allowed(ADMIN, [str(ingest / "latest")]) == [str(ingest / "drive")]


async def test_names_that_are_no_text_do_no_harm(paths: ServerPaths, ingest: Path) -> None:
    (ingest / "odd").mkdir()
    os.close(os.open(os.fsencode(ingest / "odd") + b"/\xff.mcap", os.O_CREAT))

    assert await paths.allowed(ADMIN, [str(ingest / "odd")])


@pytest.mark.parametrize("name", ["a" * 5000, "loop", "\ud800", "drive/a_0.mcap/x"])
async def test_what_cannot_be_followed_stays_where_it_is_or_is_refused(paths: ServerPaths, ingest: Path, name: str) -> None:
    (ingest / "loop").symlink_to(ingest / "loop")

    with contextlib.suppress(PathNotAllowedError):
        assert await paths.allowed(ADMIN, [f"{ingest}/{name}"]) == [f"{ingest}/{name}"]


async def test_a_folder_with_too_many_entries_is_refused(paths: ServerPaths, ingest: Path) -> None:
    folder = ingest / "full"
    folder.mkdir()
    for number in range(ENTRIES_MAX + 1):
        (folder / str(number)).symlink_to("nowhere")

    with pytest.raises(RequestError, match=str(ENTRIES_MAX)):
        await paths.allowed(ADMIN, [str(folder)])
