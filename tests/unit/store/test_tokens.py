"""The file of tokens: what it keeps, and that anything else in its place lets nobody in."""

import json
import stat
from pathlib import Path

import pytest

from peer.core.access import StoredToken, Tier
from peer.errors import StoreError, TokenInvalidError, TokensDamagedError
from peer.store.tokens import FILE_BYTES_MAX, TokenFile, read_own_token

TOKENS = [StoredToken("grafana", Tier.VIEWER, bytes(range(32)), 1, 2), StoredToken("Robot-1", Tier.ADMIN, b"\xff" * 32, 3, 10**15)]
ENTRY = {"name": "a", "tier": "viewer", "sha256": "00" * 32, "created_ms": 1, "expires_ms": 2}


def test_what_was_kept_comes_back_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    TokenFile(path).save(TOKENS)

    assert TokenFile(path).load() == TOKENS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.partial"))


def test_no_file_is_no_tokens(tmp_path: Path) -> None:
    assert TokenFile(tmp_path / "tokens.json").load() == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        5,
        None,
        {"format": 2, "tokens": []},
        {"format": 1},
        {"format": 1, "tokens": None},
        {"format": 1, "tokens": {}, "more": 1},
        {"format": 1, "tokens": [[]]},
        *({"format": 1, "tokens": [{key: value for key, value in ENTRY.items() if key != left_out}]} for left_out in ENTRY),
        *(
            {"format": 1, "tokens": [{**ENTRY, **wrong}]}
            for wrong in (
                {"name": "a/b"},
                {"name": 5},
                {"name": ""},
                {"tier": "anyone"},
                {"tier": "root"},
                {"tier": []},
                {"tier": 3},
                {"sha256": "00" * 31},
                {"sha256": "zz" * 32},
                {"sha256": ""},
                {"sha256": None},
                {"created_ms": "1"},
                {"created_ms": True},
                {"expires_ms": 1.5},
                {"expires_ms": None},
                {"extra": 1},
            )
        ),
        {"format": 1, "tokens": [ENTRY, {**ENTRY, "name": "A"}]},
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_damaged(tmp_path: Path, document: object) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(document))

    with pytest.raises(TokensDamagedError) as raised:
        TokenFile(path).load()

    assert str(path) in raised.value.text
    assert raised.value.fix


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"\0" * 100, b"[" * 100_000, b" " * (FILE_BYTES_MAX + 1)])
def test_bytes_that_are_no_document_are_damage(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(data)

    with pytest.raises(TokensDamagedError):
        TokenFile(path).load()


def test_every_cut_of_the_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    TokenFile(path).save(TOKENS)
    whole = path.read_bytes()

    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        with pytest.raises(TokensDamagedError):
            TokenFile(path).load()


def test_a_folder_in_its_place_is_damage_and_writing_fails_with_a_code(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.mkdir()

    with pytest.raises(TokensDamagedError):
        TokenFile(path).load()
    with pytest.raises(StoreError, match="cannot be written"):
        TokenFile(path).save(TOKENS)


def test_the_own_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    path.write_text("5" * 64 + "\n")

    assert read_own_token(path) == "5" * 64


@pytest.mark.parametrize("text", [None, "", "\n", "secret", "5" * 31])
def test_an_own_token_that_can_be_guessed_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "admin.token"
    if text is not None:
        path.write_text(text)

    with pytest.raises(TokenInvalidError) as raised:
        read_own_token(path)

    assert raised.value.fix
    assert not text or text not in raised.value.text
