"""Tokens: who is recognised, for how long, and what is never told twice."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.core.access import OWN_TOKEN_NAME, TOKEN_PREFIX, Caller, StoredToken, Tier
from peer.errors import MeshError, NameInvalidError, NameTakenError, NotFoundError, RequestError, StoreError, TokensDamagedError
from peer.operations.tokens import EXPIRES_MS_MAX, TOKENS_MAX, Tokens
from peer.store.tokens import TokenFile

OWN = "0" * 64
HOUR_MS = 3600 * 1000


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.fixture
def tokens(path: Path, clock: Clock) -> Tokens:
    return Tokens(OWN, TokenFile(path), clock)


def secret_of(tokens: Tokens, name: str, tier: str = "viewer", expires_in_ms: int = HOUR_MS) -> str:
    return str(tokens.create(name, tier, expires_in_ms)["token"])


def test_the_directorys_own_token_is_an_admin_of_its_own_kind(tokens: Tokens) -> None:
    assert tokens.identify(OWN) == Caller(OWN_TOKEN_NAME, Tier.ADMIN, is_own=True)


@pytest.mark.parametrize("tier", [Tier.VIEWER, Tier.OPERATOR, Tier.ADMIN])
def test_a_token_is_recognised_now_and_after_a_restart(tokens: Tokens, path: Path, clock: Clock, tier: Tier) -> None:
    secret = secret_of(tokens, "grafana", tier.label)

    for each in (tokens, Tokens(OWN, TokenFile(path), clock)):
        assert each.identify(secret) == Caller("grafana", tier)


def test_a_secret_has_256_random_bits_and_stands_nowhere(tokens: Tokens, path: Path) -> None:
    secrets = {secret_of(tokens, f"t{number}") for number in range(20)}

    assert len(secrets) == 20
    assert all(re.fullmatch(TOKEN_PREFIX + "[0-9a-f]{64}", secret) for secret in secrets)
    everything = path.read_text() + json.dumps(tokens.all()) + repr(tokens._tokens)
    assert not [secret for secret in secrets if secret.removeprefix(TOKEN_PREFIX) in everything]


@pytest.mark.parametrize(
    "wrong", ["", " ", OWN[:-1], OWN + "0", "1" * 64, OWN.upper() + " ", "\udcff", "\u00e9", TOKEN_PREFIX, TOKEN_PREFIX + "0" * 64]
)
def test_nothing_else_is_anybody(tokens: Tokens, wrong: str) -> None:
    secret = secret_of(tokens, "grafana")

    for text in (wrong, secret[:-1], secret + "0", secret.upper(), secret.removeprefix(TOKEN_PREFIX), "grafana"):
        assert tokens.identify(text) is None


def test_the_hash_that_is_kept_is_no_token(tokens: Tokens, path: Path) -> None:
    secret_of(tokens, "grafana", "admin")
    (entry,) = json.loads(path.read_text())["tokens"]

    assert tokens.identify(entry["sha256"]) is None
    assert tokens.identify(TOKEN_PREFIX + entry["sha256"]) is None


def test_a_token_is_valid_until_its_time_by_this_clock(tokens: Tokens, clock: Clock) -> None:
    secret = secret_of(tokens, "grafana", expires_in_ms=HOUR_MS)

    clock.ms += HOUR_MS - 1
    assert tokens.identify(secret) is not None
    assert tokens.all()[0]["state"] == "valid"
    clock.ms += 1
    assert tokens.identify(secret) is None
    assert tokens.all()[0]["state"] == "expired"


def test_the_name_of_an_expired_token_can_be_given_again_and_the_old_secret_stays_worthless(tokens: Tokens, clock: Clock) -> None:
    old = secret_of(tokens, "grafana", "admin", expires_in_ms=1)
    clock.ms += 1
    new = secret_of(tokens, "Grafana", "viewer")
    clock.ms -= 1

    assert tokens.identify(old) is None
    assert tokens.identify(new) == Caller("Grafana", Tier.VIEWER)
    assert [each["name"] for each in tokens.all()] == ["Grafana"]


def test_a_valid_name_is_given_once_whatever_its_case(tokens: Tokens) -> None:
    secret = secret_of(tokens, "grafana")

    for name in ("grafana", "GRAFANA", OWN_TOKEN_NAME, OWN_TOKEN_NAME.upper()):
        with pytest.raises(NameTakenError):
            tokens.create(name, "admin", HOUR_MS)
    assert tokens.identify(secret) == Caller("grafana", Tier.VIEWER)


@pytest.mark.parametrize(
    ("name", "tier", "expires_in_ms", "error"),
    [
        ("a/b", "viewer", HOUR_MS, NameInvalidError),
        ("", "viewer", HOUR_MS, NameInvalidError),
        ("a" * 129, "viewer", HOUR_MS, NameInvalidError),
        (TOKEN_PREFIX + "0" * 64, "viewer", HOUR_MS, RequestError),
        ("a", "anyone", HOUR_MS, RequestError),
        ("a", "root", HOUR_MS, RequestError),
        ("a", "", HOUR_MS, RequestError),
        ("a", "viewer", 0, RequestError),
        ("a", "viewer", -1, RequestError),
        ("a", "viewer", EXPIRES_MS_MAX + 1, RequestError),
    ],
)
def test_what_cannot_be_a_token_is_refused(tokens: Tokens, path: Path, name: str, tier: str, expires_in_ms: int, error: type[MeshError]) -> None:
    with pytest.raises(error):
        tokens.create(name, tier, expires_in_ms)

    assert not path.exists()


def test_a_revoked_token_is_nobodys_now_and_after_a_restart(tokens: Tokens, path: Path, clock: Clock) -> None:
    secret, other = secret_of(tokens, "grafana"), secret_of(tokens, "robot")

    assert tokens.revoke("GRAFANA")["name"] == "grafana"

    for each in (tokens, Tokens(OWN, TokenFile(path), clock)):
        assert each.identify(secret) is None
        assert each.identify(other) is not None
    for name in ("grafana", OWN_TOKEN_NAME, "", "\0"):
        with pytest.raises(NotFoundError):
            tokens.revoke(name)


class FailingFile(TokenFile):
    """A disk that fails when it is told to."""

    fails = False

    def save(self, tokens: Sequence[StoredToken]) -> None:
        if self.fails:
            raise StoreError("no disk")
        super().save(tokens)


def test_a_token_that_cannot_be_kept_is_none_and_one_that_is_revoked_stays_so(path: Path, clock: Clock) -> None:
    file = FailingFile(path)
    tokens = Tokens(OWN, file, clock)
    secret = secret_of(tokens, "grafana")
    file.fails = True

    with pytest.raises(StoreError):
        tokens.create("robot", "admin", HOUR_MS)
    assert [each["name"] for each in tokens.all()] == ["grafana"]
    with pytest.raises(StoreError):
        tokens.revoke("grafana")
    assert tokens.identify(secret) is None


def test_there_are_so_many_tokens_and_expired_ones_make_room(tokens: Tokens, clock: Clock) -> None:
    secret_of(tokens, "short", expires_in_ms=1)
    for number in range(TOKENS_MAX - 1):
        secret_of(tokens, f"t{number}")

    with pytest.raises(RequestError, match=str(TOKENS_MAX)):
        tokens.create("one-more", "viewer", HOUR_MS)
    clock.ms += 1
    secret_of(tokens, "one-more")
    assert len(tokens.all()) == TOKENS_MAX
    assert "short" not in {each["name"] for each in tokens.all()}


def test_a_damaged_file_lets_in_nobody_but_the_own_token_until_it_is_put_right(path: Path, clock: Clock) -> None:
    secret = secret_of(Tokens(OWN, TokenFile(path), clock), "grafana", "admin")
    whole = path.read_text()
    path.write_text(whole[:-20])

    tokens = Tokens(OWN, TokenFile(path), clock)

    assert tokens.identify(secret) is None
    assert tokens.identify(OWN) is not None
    assert tokens.problem is not None
    for ask in (tokens.all, lambda: tokens.create("a", "viewer", HOUR_MS), lambda: tokens.revoke("grafana")):
        with pytest.raises(TokensDamagedError):
            ask()
    assert path.read_text() == whole[:-20], "what is damaged is left for somebody to look at"

    path.write_text(whole)
    assert [each["name"] for each in tokens.all()] == ["grafana"]
    assert tokens.identify(secret) is not None
    assert tokens.problem is None
