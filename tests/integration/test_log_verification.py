"""Verification finds what is wrong in a log, whatever it is, and changes nothing."""

import contextlib
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.event import link_event
from peer.core.run import sign_run
from peer.store import verification
from peer.store.keys import KeyFiles
from peer.store.verification import Verification, verify_log
from tests.integration.store_site import fork, running_store
from tests.samples import GROUP, SampleLog, genesis, note

FLIPS = 60


async def fill(root: Path) -> Path:
    """A log with own and foreign events and a fork; returns its database."""
    log = SampleLog("alice")
    base = log.write_notes(40)
    async with running_store(root) as store:
        await store.create_group(genesis())
        await store.append(log.certificate, base)
        await store.append(log.certificate, log.write_notes(200))
        await store.append(log.certificate, fork(log, base.events[20], "right").write_notes(30))
        control = SampleLog("alice", kind=LogKind.CONTROL)
        await store.append(control.certificate, control.write_notes(2))
    return root / "log.db"


async def verify_at(path: Path) -> Verification:
    """What verification says of a database, beside the keys of its directory."""
    return await verify_log(path, KeyFiles(path.parent / "keys"))


def change(path: Path, *statements: tuple[str, Sequence[object]]) -> None:
    """Do to a database what the store never would."""
    connection = sqlite3.connect(path, isolation_level=None)
    for sql, parameters in statements:
        assert connection.execute(sql, parameters).rowcount
    connection.close()


async def test_an_intact_log_verifies_without_being_changed(tmp_path: Path) -> None:
    path = await fill(tmp_path / "site")
    before = path.read_bytes()

    result = await verify_at(path)

    assert result.problems == []
    assert result.checked == {"groups": 1, "logs": 2, "branches": 3, "forks": 1, "events": 272, "signatures": 4}
    assert path.read_bytes() == before


async def test_verification_runs_beside_a_writer(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    log = SampleLog("bob")
    async with running_store(tmp_path / "site") as store:
        await store.append(log.certificate, log.write_notes(5))

        result = await store.verify()

    assert result.ok
    assert result.checked["events"] == 277


@pytest.mark.parametrize(
    ("code", "sql"),
    [
        ("body_mismatch", "UPDATE events SET body = x'a0' WHERE position = 100"),
        ("not_canonical", "UPDATE events SET header = substr(header, 1, 100) WHERE position = 100"),
        ("event_version_unknown", "UPDATE events SET header = CAST(x'8a02' || substr(header, 3) AS BLOB) WHERE position = 100"),
        ("store_corrupt", "UPDATE events SET id = zeroblob(32) WHERE position = 100"),
        ("signature_mismatch", "UPDATE events SET signature = zeroblob(64) WHERE position = 240"),
        ("signature_mismatch", "UPDATE events SET signature = NULL WHERE position = 240"),
        ("run_too_long", "UPDATE events SET signature = NULL WHERE position IN (40, 240)"),
        ("log_gap", "DELETE FROM events WHERE position = 100"),
        ("log_gap", "UPDATE events SET height = height + 1000 WHERE branch_no = 1 AND height > 200"),
        ("store_corrupt", "UPDATE events SET position = position + 10000 WHERE position = 100"),
        ("store_corrupt", "UPDATE events SET body = printf('%0*d', length(body), 0) WHERE position = 100"),
        ("store_corrupt", "UPDATE events SET branch_no = 99 WHERE position = 240"),
        ("store_corrupt", "UPDATE branches SET fork_height = 1000 WHERE parent_branch IS NOT NULL"),
        ("certificate_invalid", "UPDATE logs SET certificate = substr(certificate, 1, 80) WHERE log_no = 1"),
        ("wrong_log", "UPDATE logs SET log = zeroblob(32) WHERE log_no = 1"),
        ("wrong_log", "UPDATE branches SET log_no = 2 WHERE branch_no = 1"),
        ("protocol_violation", "UPDATE groups SET genesis = CAST(genesis || x'00' AS BLOB)"),
    ],
)
async def test_each_way_to_be_wrong_is_found_and_named(tmp_path: Path, code: str, sql: str) -> None:
    path = await fill(tmp_path / "site")
    if code == "run_too_long":
        log = SampleLog("alice")
        async with running_store(tmp_path / "site") as store:
            for count in (40, 200, 200):
                await store.append(log.certificate, log.write_notes(count))  # The first 240 are there.
    change(path, (sql, ()))

    result = await verify_at(path)

    assert code in {problem.code for problem in result.problems}
    assert all(problem.what and problem.where for problem in result.problems)


async def test_a_log_that_has_lost_its_first_event_is_found(tmp_path: Path) -> None:
    """Those that are left stand one place lower than they were written for."""
    path = await fill(tmp_path / "site")
    change(path, ("DELETE FROM events WHERE branch_no = 3 AND height = 1", ()), ("UPDATE events SET height = 1 WHERE branch_no = 3", ()))

    assert "store_corrupt" in {problem.code for problem in (await verify_at(path)).problems}


async def test_a_log_that_does_not_begin_with_its_certificate_is_found(tmp_path: Path) -> None:
    path = await fill(tmp_path / "site")
    log = SampleLog("alice", kind=LogKind.CONTROL)
    place = {"group": GROUP, "log": log.certificate.log, "seq": 0, "previous": bytes(32), "hlc": 1 << 30}
    forged = link_event(**place, type_="note", refs=[], body=b"\xa0")  # type: ignore[arg-type]
    row = forged.id, forged.header_bytes, forged.body, sign_run(log.key, [forged]).signature
    sql = "UPDATE events SET id = ?, header = ?, body = ?, signature = ? WHERE branch_no = 3 AND height = 1"
    change(path, ("DELETE FROM events WHERE branch_no = 3 AND height = 2", ()), (sql, row))

    assert [problem.code for problem in (await verify_at(path)).problems] == ["log_gap"]


async def test_events_that_do_not_follow_those_of_the_page_before_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two branches have exchanged what lies up to the end of a page: in each page by itself all is well."""
    path = await fill(tmp_path / "site")
    monkeypatch.setattr(verification, "PAGE_EVENTS", 51)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        sql = "SELECT id, header, body, signature, ?, height FROM events WHERE branch_no = ? AND height BETWEEN 22 AND 51"
        rows = [connection.execute(sql, branches).fetchall() for branches in ((2, 1), (1, 2))]
        for exchanged in rows:
            connection.executemany("UPDATE events SET id = ?, header = ?, body = ?, signature = ? WHERE branch_no = ? AND height = ?", exchanged)

    assert "log_gap" in {problem.code for problem in (await verify_at(path)).problems}


async def test_a_byte_that_flips_in_the_middle_of_a_page_is_found(tmp_path: Path) -> None:
    """Any byte of headers, bodies, ids and signatures, and nearly any of the pages around them."""
    path = await fill(tmp_path / "site")
    content = path.read_bytes()
    connection = sqlite3.connect(path)
    headers = [bytes(header) for (header,) in connection.execute("SELECT header FROM events")]
    connection.close()
    chance = random.Random(7)
    for header in chance.sample(headers, FLIPS):
        place = content.index(header) + chance.randrange(len(header))
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :])

        result = await verify_at(path)

        assert not result.ok, f"byte {place}"


async def test_a_file_that_is_no_database_or_is_not_there_is_one_problem(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"garbage" * 5000)

    assert [problem.code for problem in (await verify_at(garbage)).problems] == ["store_corrupt"]
    assert [problem.code for problem in (await verify_at(tmp_path / "nothing.db")).problems] == ["store_corrupt"]


async def test_a_file_that_was_cut_off_is_found(tmp_path: Path) -> None:
    path = await fill(tmp_path / "site")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    assert "store_corrupt" in {problem.code for problem in (await verify_at(path)).problems}


async def test_the_list_of_problems_has_an_end(tmp_path: Path) -> None:
    log = SampleLog("alice")
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        for _ in range(5):
            await store.append(log.certificate, log.write_notes(256))
    change(tmp_path / "site" / "log.db", ("UPDATE events SET body = x'a0'", ()))

    assert len((await verify_at(tmp_path / "site" / "log.db")).problems) == 1000


async def test_a_group_that_is_empty_verifies(tmp_path: Path) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        result = await store.verify()

    assert result.ok
    assert result.checked["groups"] == 1
    assert store.counts(GROUP) == (0, 0, 0)


async def test_a_database_that_was_lost_is_missed(tmp_path: Path) -> None:
    """An empty `log.db` beside the key of a log that was written is not all there is to this peer."""
    root = tmp_path / "site"
    async with running_store(root) as store:
        await store.create_group(genesis())
        await store.write(GROUP, LogKind.DATA, [note()])
    assert (await verify_at(root / "log.db")).ok
    for path in root.glob("log.db*"):
        path.unlink()
    async with running_store(root):
        pass

    (problem,) = (await verify_at(root / "log.db")).problems

    assert problem.code == "log_missing"
    assert GROUP.hex()[:16] in problem.what
