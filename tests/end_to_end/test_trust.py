"""Trust among real processes: ids instead of invitations, strangers, removals, demotions, a stolen owner."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.processes import Site, found, join, wait_until

pytestmark = pytest.mark.xdist_group("processes")


NO_GOSSIP = {"RECMESH_GOSSIP__ENABLED": "false"}
"""Who is apart in these stories stays apart: by gossip everybody would find everybody."""


@contextmanager
def running(folder: Path, *names: str) -> Iterator[list[Site]]:
    """Sites that run until the block ends."""
    with ExitStack() as stack:
        made = []
        for name in names:
            site = Site(name, folder / name)
            stack.callback(lambda site=site: site.is_running and site.stop())
            site.start(NO_GOSSIP)
            made.append(site)
        yield made


def identify(site: Site) -> str:
    """Its peer id."""
    return site.command("id").stdout.strip()


def url(site: Site) -> str:
    """Where it is dialled: TLS by default is off on loopback."""
    return f"http://127.0.0.1:{site.listen}"


def record(site: Site, folder: Path, name: str) -> Any:
    """Add a recording of that name."""
    write_sample(folder / f"{name}.mcap", 1, 1)
    return site.add(folder / f"{name}.mcap")


def has(site: Site, *names: str) -> bool:
    """True if exactly these recordings count there."""
    return set(site.recordings()) == set(names)


def roles(site: Site) -> dict[str, str]:
    """The roster there."""
    return {each["name"]: each["role"] for each in site.ask("GET", "sync/groups/lab")["members"]}


def dial_now(site: Site, peer: str) -> None:
    """Do not wait for the next try: what an operator who is in a hurry does."""
    site.ask("POST", f"sync/peers/{peer}/test")


def codes(site: Site) -> set[str]:
    """The problems there."""
    return {each["code"] for each in site.status()["problems"]}


def digests(*sites: Site) -> set[str]:
    """Of the one group of each."""
    return {site.group()["state_digest"] for site in sites}


def test_two_admins_add_each_others_id_without_an_invitation(tmp_path: Path) -> None:
    with running(tmp_path, "a", "b") as (a, b):
        found(a)
        record(a, tmp_path, "first")
        waiting = b.command("peer", "add", "--name", "a", "--endpoint", url(a), "--peer-id", identify(a), "--group", "lab")
        assert "from nobody else" in waiting.stderr
        a.command("peer", "add", "--name", "b", "--peer-id", identify(b), "--group", "lab", "--role", "writer")

        wait_until(lambda: has(b, "first"), "b has what a had")
        record(b, tmp_path, "second")
        wait_until(lambda: has(a, "first", "second"), "a has what b added")

        tested = b.json("peer", "test", "a")
        assert (tested["ok"], [step["step"] for step in tested["steps"]]) == (True, ["name", "tcp", "tls", "handshake", "group"])
        assert roles(b) == {"a": "owner", "b": "writer"}


def test_an_unknown_dialler_is_pending_until_it_is_accepted(tmp_path: Path) -> None:
    with running(tmp_path, "a", "b") as (a, b):
        found(a)
        b.command("peer", "add", "--name", "a", "--endpoint", url(a), "--peer-id", identify(a), "--group", "lab")
        wait_until(lambda: a.json("peer", "pending") != [], "b knocked")

        (knocker,) = a.json("peer", "pending")
        assert knocker["peer_id"] == identify(b)
        assert b.json("group", "list") == []
        assert "peer_pending" in codes(a)
        a.command("peer", "accept", knocker["peer_id"], "--group", "lab", "--role", "reader")
        dial_now(b, identify(a))

        wait_until(lambda: [group["role"] for group in b.json("group", "list")] == ["reader"], "b is in")
        assert a.json("peer", "pending") == []


def test_what_a_removed_member_writes_later_counts_nowhere_and_what_it_wrote_before_stays(tmp_path: Path) -> None:
    with running(tmp_path, "owner", "other", "gone") as (owner, other, gone):
        found(owner)
        join(owner, other)
        join(owner, gone)
        record(gone, tmp_path, "before")
        wait_until(lambda: has(owner, "before") and has(other, "before"), "everybody has it")
        gone.stop()

        said = owner.command("group", "remove", "lab", "gone")
        assert "stays as it is" in said.stderr
        for site in (owner, other):
            site.stop()
        gone.start()
        record(gone, tmp_path, "after")
        assert has(gone, "before", "after")
        for site in (owner, other):
            site.start()
        dial_now(gone, "owner")

        wait_until(lambda: "removed_from_group" in codes(gone), "it knows that it was removed")
        wait_until(lambda: has(gone, "before"), "what it wrote later does not count there, either")
        assert gone.group()["quarantined"] >= 3
        assert any("by owner" in each["text"] for each in gone.status()["problems"])
        wait_until(lambda: roles(other) == {"owner": "owner", "other": "writer"}, "the other site knows")
        assert has(owner, "before")
        assert has(other, "before")
        assert len(digests(owner, other, gone)) == 1
        refused = gone.command("group", "invite", "lab", status=1)
        assert "[not_allowed]" in refused.stderr


def test_a_demoted_member_keeps_what_it_wrote_and_writes_no_more(tmp_path: Path) -> None:
    with running(tmp_path, "owner", "member") as (owner, member):
        found(owner)
        join(owner, member)
        record(member, tmp_path, "before")
        wait_until(lambda: has(owner, "before"), "the owner has it")

        owner.command("group", "role", "lab", "member", "reader")

        wait_until(lambda: roles(member).get("member") == "reader", "the member knows")
        assert has(member, "before")
        assert has(owner, "before")
        write_sample(tmp_path / "after.mcap", 1, 1)
        assert "[not_allowed]" in member.command("recording", "add", str(tmp_path / "after.mcap"), status=1).stderr
        assert len(digests(owner, member)) == 1


def test_two_admins_that_remove_each_other_end_the_same_everywhere(tmp_path: Path) -> None:
    """Apart from each other, the senior removes the junior; the junior is told why it cannot do the same, and what else it did goes with it."""
    with running(tmp_path, "owner", "senior", "junior") as (owner, senior, junior):
        found(owner)
        join(owner, senior, role="admin")
        join(owner, junior, role="admin")
        wait_until(lambda: len(roles(senior)) == len(roles(junior)) == 3, "all know of all")
        owner.stop()

        senior.command("group", "remove", "lab", "junior")
        refused = junior.command("group", "remove", "lab", "senior", status=1)
        junior.command("peer", "add", "--name", "puppet", "--peer-id", "ab" * 32, "--group", "lab", "--role", "admin")
        assert "senior to this site" in refused.stderr
        assert "[not_allowed]" in refused.stderr
        assert "puppet" in roles(junior)
        owner.start()
        dial_now(senior, "owner")
        dial_now(junior, "owner")

        expected = {"owner": "owner", "senior": "admin"}
        wait_until(lambda: roles(owner) == roles(senior) == expected, "both agree")
        wait_until(lambda: roles(junior) == expected, "the junior knows")
        assert len(digests(owner, senior, junior)) == 1


def test_the_offline_first_owner_takes_the_group_back_from_a_stolen_second_one(tmp_path: Path) -> None:
    vault = Site("vault", tmp_path / "vault")
    with running(tmp_path, "daily", "field") as (daily, field):
        daily.command("group", "create", "lab", "--owner", identify(vault))
        join(daily, field)
        record(daily, tmp_path, "good")
        wait_until(lambda: has(field, "good"), "the field has it")
        wait_until(lambda: time.time() > max(event["time_ms"] for event in daily.json("events", "lab")) / 1000 + 1, "the clock goes on")
        stolen_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record(daily, tmp_path, "bad")
        daily.command("peer", "add", "--name", "thief", "--peer-id", "cd" * 32, "--group", "lab", "--role", "admin")
        wait_until(lambda: has(field, "good", "bad") and "thief" in roles(field), "the field believes the thief")
        daily.command("group", "remove", "lab", "field")
        wait_until(lambda: "field" not in roles(field), "the thief has removed the field")

        vault.start()
        try:
            vault.command("peer", "add", "--name", "field", "--endpoint", url(field), "--peer-id", identify(field), "--group", "lab")
            wait_until(lambda: [group["role"] for group in vault.json("group", "list")] == ["owner"], "the vault has the group")
            wait_until(lambda: "thief" in roles(vault), "and knows of the thief")
            vault.command("group", "role", "lab", "field", "writer")
            dial_now(vault, "field")
            wait_until(lambda: has(vault, "good", "bad"), "the field, taken back, gives all it has")
            preview = vault.json("group", "remove", "lab", "daily", "--since", stolen_at, "--dry-run")
            assert sum(each["events"] for each in preview["would_leave_out"]) >= 5
            assert "thief" in roles(vault)
            said = vault.command("group", "remove", "lab", "daily", "--since", stolen_at)
            assert "will not count" in said.stderr

            expected = {"vault": "owner", "field": "writer"}
            for site in (vault, field):
                wait_until(lambda site=site: has(site, "good"), f"{site.name} has what was good")
                wait_until(lambda site=site: len(roles(site)) == len(expected) and "field" in roles(site), f"{site.name} knows who is in")
            dial_now(field, identify(daily))
            wait_until(lambda: "field" in roles(daily) and "daily" not in roles(daily), "the stolen machine is shown what says that it is out")
            assert "[not_allowed]" in daily.command("group", "invite", "lab", status=1).stderr
            assert len(digests(vault, field)) == 1
        finally:
            vault.stop()
