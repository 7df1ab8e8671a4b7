"""Planted bugs in what keeps others out of the admin API: tiers, tokens, origins, paths, the audit log. Each must be caught by a test of these."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from peer.api import access, audit
from peer.api.routes import Route
from peer.core.access import Tier
from peer.operations import paths as server_paths
from peer.operations import tokens as operations_tokens
from peer.operations.paths import ServerPaths
from peer.operations.tokens import Tokens
from peer.store.audit import AuditFile
from peer.store.tokens import TokenFile
from tests.integration import test_admin_access as admin_access
from tests.integration import test_audit_log as audit_log
from tests.integration.running_peer import running_peer
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.operations import test_paths as paths
from tests.unit.operations import test_tokens as tokens
from tests.unit.store import test_tokens as token_file

Patch = pytest.MonkeyPatch


def let_operators_do_what_admins_do(patch: Patch) -> None:
    """The highest tier is forgotten."""
    change(patch, access.needed_tier, ("return tiers.get(", "return min(Tier.OPERATOR, tiers.get("), ("Tier.ADMIN)", "Tier.ADMIN))"))


def open_what_is_not_listed(patch: Patch) -> None:
    """What is no route of ours is no secret either."""
    change(patch, access.needed_tier, ("Tier.ADMIN", "Tier.VIEWER"))


def let_a_route_without_a_tier_be_for_everybody(patch: Patch) -> None:
    """Who forgets to name a tier opens a door."""
    patch.setattr(Route, "needed", property(lambda route: Tier.ANYONE if route.tier is None else route.tier))


def look_at_the_host_of_an_origin_alone(patch: Patch) -> None:
    """Another port of this machine is another program."""
    change(patch, access._check_origin, ('_place(f"//{rest}") != own', '(_place(f"//{rest}") or ("", 0))[0] != own[0]'))


def look_at_the_first_origin_alone(patch: Patch) -> None:
    """A second header passes unseen."""
    change(patch, access._check_origin, ('request.headers.getall("Origin", [])', 'request.headers.getall("Origin", [])[:1]'))


def believe_any_host(patch: Patch) -> None:
    """A name that was made to lead here is as good as ours."""
    change(patch, access._check_host, ("own is None or (own[0] not in hosts and not _is_ip(own[0]))", "own is None"))


def forget_that_tokens_expire(patch: Patch) -> None:
    """Whoever had a token has it for ever."""
    change(patch, Tokens.identify, (" and now < token.expires_ms", ""))


def revoke_until_the_next_start(patch: Patch) -> None:
    """What is revoked is not written down."""
    change(patch, Tokens.revoke, ("self._store.save(list(self._tokens.values()))", "pass"))


def give_a_name_away_twice(patch: Patch) -> None:
    """The second token of a name silently replaces the first."""
    change(patch, Tokens.create, ("now < held.expires_ms", "False"))


def take_a_hash_for_a_secret(patch: Patch) -> None:
    """What stands in the file opens the door."""
    digest = operations_tokens._digest

    def either(secret: str) -> bytes:
        return bytes.fromhex(secret) if re.fullmatch("[0-9a-f]{64}", secret) else digest(secret)

    patch.setattr(operations_tokens, "_digest", either)


def draw_secrets_from_little(patch: Patch) -> None:
    """One random byte is random, too."""
    patch.setattr(operations_tokens.os, "urandom", lambda size: b"\x07" * size)


def take_a_damaged_file_for_an_empty_one(patch: Patch) -> None:
    """The next token that is made overwrites what could have been put right."""
    change(patch, TokenFile.load, ('raise _damaged(self._path, "is not as it was written") from error', "return []"))


def compare_paths_as_they_are_written(patch: Patch) -> None:
    """A link is where it lies, not where it leads."""
    change(patch, server_paths._resolve, ("path.resolve()", "path.absolute()"))


def look_at_a_folder_and_not_into_it(patch: Patch) -> None:
    """What a folder holds is what it seems to hold."""
    change(patch, ServerPaths._resolved, (" or not all(is_free(each) for each in _entries(real))", ""))


def forget_that_keys_lie_below_an_ingest_folder(patch: Patch) -> None:
    """A data directory in an ingest folder is a folder like any other."""
    change(patch, ServerPaths._resolved, (" and not path.is_relative_to(data_directory)", ""))


def compare_paths_as_texts(patch: Patch) -> None:
    """What begins alike lies within."""
    change(patch, ServerPaths._resolved, ("path.is_relative_to(folder) for", "str(path).startswith(str(folder)) for"))


def write_paths_as_they_come(patch: Patch) -> None:
    """A token in a path ends in the audit log."""
    patch.setattr(audit, "_SECRET", re.compile("(?!)"))


def write_about_every_stranger(patch: Patch) -> None:
    """Who has no token fills the disk."""
    patch.setattr(audit.Allowances, "take", lambda *_: 0)


def write_about_successes_alone(patch: Patch) -> None:
    """A change that ends in an error may have been done all the same."""
    change(patch, AuditFile.write, ("    try:\n", "    if entry['code'] is not None:\n        return\n    try:\n"))


def stop_where_the_audit_log_cannot_be_written(patch: Patch) -> None:
    """A full disk closes the admin API."""
    change(patch, AuditFile.write, ("except OSError as error", "except ZeroDivisionError as error"))


def with_peer(test: Callable[..., Awaitable[None]], *arguments: Any) -> Check:
    """A test that needs a running peer."""

    async def check(folder: Path) -> None:
        async with running_peer(folder / "data", "alpha") as peer:
            await test(peer, *arguments)

    return check


def with_tokens(test: Callable[..., None], *names: str) -> Check:
    """A test of tokens, with those of its fixtures that it names."""

    def check(folder: Path) -> None:
        clock, path = tokens.Clock(), folder / "tokens.json"
        known = {"tokens": Tokens(tokens.OWN, TokenFile(path), clock), "path": path, "clock": clock}
        test(*(known[name] for name in names))

    return check


async def no_way_leads_out(folder: Path) -> None:
    """The test, with an ingest folder that holds the data directory."""
    ingest = paths.make_ingest(folder)
    await paths.test_no_way_leads_out(ServerPaths([ingest], ingest / "data"), ingest)


async def route_without_a_tier(_: Path) -> None:
    """The test, for somebody who is not the highest."""
    await audit_log.test_a_route_without_a_tier_or_without_a_listing_needs_the_highest("o", 403)


async def strangers(_: Path) -> None:
    """The test, which needs no folder."""
    await audit_log.test_strangers_cannot_fill_the_file_and_what_was_left_out_is_counted()


def damaged_file(folder: Path) -> None:
    """The test, for bytes that are no document."""
    token_file.test_bytes_that_are_no_document_are_damage(folder, b"{")


MUTANTS = [
    Mutant(let_operators_do_what_admins_do, with_peer(admin_access.test_every_route_is_open_to_its_tier_and_those_above_and_closed_to_those_below)),
    Mutant(open_what_is_not_listed, with_peer(admin_access.test_what_is_not_there_needs_the_highest_tier)),
    Mutant(let_a_route_without_a_tier_be_for_everybody, route_without_a_tier),
    Mutant(
        look_at_the_host_of_an_origin_alone,
        with_peer(admin_access.test_a_page_from_elsewhere_is_refused_for_every_method_of_every_route, "http://127.0.0.1:1"),
    ),
    Mutant(look_at_the_first_origin_alone, with_peer(admin_access.test_two_origins_in_one_request_are_judged_both)),
    Mutant(believe_any_host, with_peer(admin_access.test_a_host_that_is_not_ours_is_refused, "evil.example", admin_access.STATUS)),
    Mutant(forget_that_tokens_expire, with_tokens(tokens.test_a_token_is_valid_until_its_time_by_this_clock, "tokens", "clock")),
    Mutant(revoke_until_the_next_start, with_tokens(tokens.test_a_revoked_token_is_nobodys_now_and_after_a_restart, "tokens", "path", "clock")),
    Mutant(give_a_name_away_twice, with_tokens(tokens.test_a_valid_name_is_given_once_whatever_its_case, "tokens")),
    Mutant(take_a_hash_for_a_secret, with_tokens(tokens.test_the_hash_that_is_kept_is_no_token, "tokens", "path")),
    Mutant(draw_secrets_from_little, with_tokens(tokens.test_a_secret_has_256_random_bits_and_stands_nowhere, "tokens", "path")),
    Mutant(take_a_damaged_file_for_an_empty_one, damaged_file),
    Mutant(compare_paths_as_they_are_written, no_way_leads_out),
    Mutant(look_at_a_folder_and_not_into_it, no_way_leads_out),
    Mutant(forget_that_keys_lie_below_an_ingest_folder, no_way_leads_out),
    Mutant(compare_paths_as_texts, no_way_leads_out),
    Mutant(write_paths_as_they_come, with_peer(audit_log.test_secrets_in_odd_places_are_not_written)),
    Mutant(write_about_every_stranger, strangers),
    Mutant(write_about_successes_alone, with_peer(audit_log.test_every_change_is_a_line_that_names_the_token)),
    Mutant(stop_where_the_audit_log_cannot_be_written, with_peer(audit_log.test_a_disk_that_fails_breaks_no_request_and_is_shown), (ValueError,)),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
