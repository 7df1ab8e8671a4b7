"""Which files become a recording, and what it is called."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.errors import FileUnreadableError, NameInvalidError, RequestError
from peer.operations.files import default_name, natural_key, select_files

NOBODY = 65534


def test_a_folder_is_one_recording_in_natural_order_with_its_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    for name in ("bag_10.mcap", "bag_2.mcap", "bag_0.MCAP", "metadata.yaml", "notes.txt"):
        (folder / name).touch()

    selection = select_files([folder])

    assert [path.name for path in selection.chunks] == ["bag_0.MCAP", "bag_2.mcap", "bag_10.mcap"]
    assert [path.name for path in selection.attachments] == ["metadata.yaml"]
    assert selection.name == "bag"


def test_files_keep_the_order_that_they_are_named_in(tmp_path: Path) -> None:
    paths = [tmp_path / "b_1.mcap", tmp_path / "b_0.mcap"]

    selection = select_files(paths)

    assert list(selection.chunks) == paths
    assert selection.name == "b"
    assert select_files(paths[:1]).name == "b_1"


@pytest.mark.parametrize("case", ["nothing", "relative", "twice", "two folders", "empty folder"])
def test_what_cannot_be_one_recording_is_refused(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    file = tmp_path / "a.mcap"
    file.touch()
    paths = {"nothing": [], "relative": [Path("a.mcap")], "twice": [file, file], "two folders": [folder, file], "empty folder": [folder]}

    with pytest.raises(RequestError) as raised:
        select_files(paths[case])

    assert raised.value.fix


@contextlib.contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may read everything: be nobody for a while, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_folder_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir(mode=0)

    with an_ordinary_user(), pytest.raises(FileUnreadableError):
        select_files([folder])


@pytest.mark.parametrize(
    ("text", "name"), [("a b", "a-b"), ("..hidden", "hidden"), ("Fahrt über", "Fahrt-ber"), ("x" * 200, "x" * 128), ("a_0", "a_0")]
)
def test_a_default_name_is_made_valid(text: str, name: str) -> None:
    assert default_name(text) == name


@pytest.mark.parametrize("text", ["", "...", "日本"])
def test_where_no_name_can_be_made_one_is_asked_for(text: str) -> None:
    with pytest.raises(NameInvalidError) as raised:
        default_name(text)

    assert "--name" in raised.value.fix


def test_numbers_are_compared_as_numbers() -> None:
    names = ["b_10", "b_9", "a", "10", "9"]

    assert sorted(names, key=lambda name: natural_key(Path(name))) == ["9", "10", "a", "b_9", "b_10"]
