"""Planted bugs in manifests: by which version they are judged, what stands in them, how they are read back, what recorders say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from materializer import manifest, manifest_reading, mcap_embedded, queries, recordings
from peer.errors import ManifestInvalidError
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_finalizes as finalizes
from tests.unit.materializer import test_manifest as manifests
from tests.unit.materializer import test_manifest_reading as reading
from tests.unit.materializer import test_mcap_embedded as embedded


def judge_all_by_the_newest_version(patch: pytest.MonkeyPatch) -> None:
    """What was finalized by an older version has another id now."""
    change(patch, recordings.judge, ("finalize.body.manifest_version)", "2)"), ("finalize.body.manifest_version not in", "2 not in"))


def judge_versions_that_are_not_known(patch: pytest.MonkeyPatch) -> None:
    """A manifest of a later version is called wrong."""
    patch.setattr(recordings, "MANIFEST_VERSIONS", (1, 2, 3))


def hide_what_came_late(patch: pytest.MonkeyPatch) -> None:
    """Files that stand in no manifest are shown nowhere."""
    change(patch, queries._late, ("not in chunks]", "in ()]"))


def take_in_what_came_late(patch: pytest.MonkeyPatch) -> None:
    """An attachment stands in the manifest though the finalize had not seen it."""
    change(patch, recordings.final_parts, ("if attachment.event_id in named]", "]"))


def complete_before_all_is_here(patch: pytest.MonkeyPatch) -> None:
    """A finalize does not wait for attachments that it lists."""
    change(patch, recordings.final_parts, ("if not named <= {each.event_id for each in extra}:", "if False:"))


def add_up_what_is_not_said(patch: pytest.MonkeyPatch) -> None:
    """A file that does not say how many messages were dropped counts as one that lost none."""
    change(patch, manifest.summed, ("if not known or None in known", "if not known"))


def leave_hashes_as_text(patch: pytest.MonkeyPatch) -> None:
    """A manifest that was JSON gets another id."""
    patch.setattr(manifest_reading, "BYTES_KEYS", manifest_reading.BYTES_KEYS - {"schema_hash"})


def take_the_last_of_two_fields(patch: pytest.MonkeyPatch) -> None:
    """Two readers see different manifests in the same bytes."""
    change(patch, manifest_reading._no_key_twice, ("len(fields) != len(pairs)", "False"))


def believe_any_type(patch: pytest.MonkeyPatch) -> None:
    """CBOR with text where bytes should be is a manifest, with an id that nothing else gives."""
    change(patch, manifest_reading._from_cbor, ("if _made_of(document).fields != fields:", "if False:"))


def believe_the_first_record(patch: pytest.MonkeyPatch) -> None:
    """What a recorder said of dropped messages first is not put right by what it says in the end."""
    change(patch, mcap_embedded.read_embedded, ("dropped = dropped if said is None else said", "dropped = said if dropped is None else dropped"))


def believe_the_index(patch: pytest.MonkeyPatch) -> None:
    """Whatever lies where the summary names a record is taken for it."""
    change(patch, mcap_embedded.read_embedded, ("_pread(file, place.start - FRAME_SIZE, FRAME_SIZE) != ", "False and b'' != "))


def ending(*scenes: Callable[[], finalizes.Scene]) -> Callable[[Path], None]:
    """Scenes come to the same end in every order."""

    def check(_folder: Path) -> None:
        for scene in scenes:
            finalizes.test_every_order_of_arrival_comes_to_the_same_end(scene)

    return check


def dropping(folder: Path) -> None:
    """The last record of a recorder holds."""
    records = [("recorder", {"messages_lost": "5"}), ("recorder", {"messages_lost": "9"})]
    embedded.test_dropped_messages_are_what_the_last_record_of_the_recorder_says(folder, records, 9)


def twice(_folder: Path) -> None:
    """A field that stands there twice is refused."""
    reading.test_what_is_no_manifest_is_refused(reading.sample(2).json.replace(b'"version":2', b'"version":2,"version":2'))


MUTANTS = (
    Mutant(judge_all_by_the_newest_version, ending(finalizes.manifest_of_the_first_version)),
    Mutant(judge_versions_that_are_not_known, ending(finalizes.manifest_of_a_later_version)),
    Mutant(hide_what_came_late, ending(finalizes.late_files)),
    Mutant(take_in_what_came_late, ending(finalizes.late_files)),
    Mutant(complete_before_all_is_here, ending(finalizes.attachment_that_comes_later)),
    Mutant(add_up_what_is_not_said, lambda _folder: manifests.test_dropped_messages_are_added_up_only_where_each_file_says_how_many()),
    Mutant(
        leave_hashes_as_text,
        lambda _folder: reading.test_a_manifest_of_each_version_is_read_back_in_both_forms_as_what_it_was(2),
        (ManifestInvalidError,),
    ),
    Mutant(take_the_last_of_two_fields, twice),
    Mutant(believe_any_type, lambda _folder: reading.test_cbor_with_values_of_other_types_is_refused()),
    Mutant(believe_the_first_record, dropping),
    Mutant(believe_the_index, embedded.test_a_summary_that_names_what_is_not_there_is_not_believed, (Exception,)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_manifests_are_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
