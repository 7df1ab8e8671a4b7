"""What `recmesh recording show` tells of where a recording comes from."""

from typing import Any

import pytest

from peer.cli.facts import fact_pairs, print_facts

NOBODY = {"tool": "", "version": "", "host": "", "source_path": "", "operator": ""}
FILE = {"name": "a.mcap", "source_name": "bag_0.mcap", "size_bytes": 10, "blob_id": "b" * 64, "embedded": []}


def document(**changes: object) -> dict[str, Any]:
    plain = {"profile": "ros2", "provenance": NOBODY, "dropped_message_count": None, "manifest_id": None, "manifest_state": None}
    return {**plain, "chunks": [FILE], "late": [], **changes}


def test_a_recording_of_an_older_version_says_nothing_of_where_it_comes_from() -> None:
    pairs = dict(fact_pairs(document(manifest_id="m" * 64, manifest_state="complete")))

    assert (pairs["added by"], pairs["added from"], pairs["added with"], pairs["dropped"]) == ("", "", "", "not said")
    assert pairs["manifest"] == "m" * 64


@pytest.mark.parametrize(("state", "text"), [(None, "open"), ("waiting", "not all"), ("mismatch", "not what"), ("newer", "upgrade")])
def test_a_recording_without_a_manifest_says_why(state: str | None, text: str) -> None:
    assert text in str(dict(fact_pairs(document(manifest_state=state)))["manifest"])


def test_files_that_came_late_and_what_is_in_files_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    image = {"kind": "attachment", "name": "map.png", "media_type": "image/png", "size_bytes": 2048}

    print_facts(document(chunks=[{**FILE, "embedded": [image]}], late=[{**FILE, "name": "late.mcap"}]))

    printed = capsys.readouterr().out
    for text in ("map.png", "image/png", "2.0 KiB", "CAME LATE, IN NO MANIFEST", "late.mcap"):
        assert text in printed


def test_where_there_is_nothing_to_tell_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts(document())

    assert capsys.readouterr() == ("", "")
