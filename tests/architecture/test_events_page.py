"""docs/events.md and the published schema say what the code says: every type, its version, its fields, and routes and commands that exist."""

import json
import re
import subprocess
import sys

import pytest

from materializer.control_schemas import CONTROL_SCHEMAS
from materializer.schemas import SCHEMAS
from tests.architecture.test_architecture import ROOT

MODELS = {**SCHEMAS, **CONTROL_SCHEMAS}
PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^### `([a-z.]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def line_of(type_: str, name: str) -> str:
    """What an entry says under a name; it may have several lines."""
    found = re.search(rf"^- {name}[ :](.*?)(?=^- |\Z)", ENTRIES[type_], re.MULTILINE | re.DOTALL)
    assert found, f"{type_} says nothing of {name}"
    return found[1]


def test_every_type_has_an_entry_and_no_other() -> None:
    assert set(ENTRIES) == set(MODELS)


@pytest.mark.parametrize("type_", list(MODELS))
def test_an_entry_names_the_version_the_fields_who_may_and_what_becomes_of_it(type_: str) -> None:
    version, _, said = line_of(type_, "Version").partition(":")
    assert set(re.findall(r"`([a-z_0-9]+)`", said)) == set(MODELS[type_].model_fields)
    assert int(version) == MODELS[type_].version
    for name in ("Who may", "Becomes", "Written by"):
        assert line_of(type_, name).strip()


@pytest.mark.parametrize("type_", list(SCHEMAS))
def test_fields_of_later_versions_are_said_to_be(type_: str) -> None:
    before, _, after = line_of(type_, "Version").partition("since 2")
    later = {name for name, field in SCHEMAS[type_].model_fields.items() if field.json_schema_extra is not None}
    assert later == set(re.findall(r"`([a-z_0-9]+)`", after))
    assert not later & set(re.findall(r"`([a-z_0-9]+)`", before))


def test_the_published_schema_is_that_of_the_models() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "materializer.published_schemas"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    published = (ROOT / "docs" / "events.schema.json").read_text(encoding="utf-8")
    assert published == printed, "run: python -m materializer.published_schemas > docs/events.schema.json"
    types = json.loads(published)["types"]
    assert {type_: each["version"] for type_, each in types.items()} == {type_: model.version for type_, model in MODELS.items()}
