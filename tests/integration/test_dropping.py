"""Dropping copies, between real sites: nobody drops what too few others prove that they hold, however it is asked for."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from materializer.queries import FILES_OF_BLOB_MAX
from peer.api.drop_models import RecordingDropped
from peer.core.identity import PeerId
from peer.errors import RequestError
from peer.operations import custody, dropping
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap
from tests.patience import PATIENCE_S

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
RUN = f"{RECORDINGS}/run"
DROP = f"{RUN}/drop"
Peers = dict[str, RunningPeer]


async def join(owner: RunningPeer, *others: RunningPeer) -> None:
    """All of them in one group."""
    await owner.post(GROUPS, {"name": "lab"})
    for peer in others:
        made = await owner.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 600_000})
        await peer.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
    for peer in (owner, *others):
        await peer.until("/api/v1/status", lambda status: len([link for link in status["links"] if link["state"] == "up_to_date"]) == len(others))


async def wants(peer: RunningPeer, copies: int) -> None:
    await peer.call("PATCH", f"{GROUPS}/lab/settings", json={"key": "min_copies", "value": copies})


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[Peers]:
    """Three sites with a copy each of a recording of which two are to stay."""
    async with AsyncExitStack() as stack:
        found = {}
        for name in ("alpha", "beta", "gamma"):
            found[name] = await stack.enter_async_context(running_peer(tmp_path / name, name, receipt_delay=0.05, take_copies=False))
        await join(*found.values())
        await wants(found["alpha"], 2)
        paths = [str(write_mcap(tmp_path / f"run_{number}.mcap", payload=b"%d" % number)) for number in range(3)]
        await found["alpha"].post(RECORDINGS, {"paths": paths, "name": "run"}, status=201)
        for peer in found.values():
            await peer.until(RUN, lambda shown: shown["copies"] == 3 and shown["state"] == "local")
        yield found


async def drop(peer: RunningPeer, *, dry_run: bool = False) -> tuple[int, Any]:
    async with peer.http.post(f"{peer.url}{DROP}", json={"dry_run": dry_run}) as answer:
        document = await answer.json(content_type=None)
        if answer.status == 200:
            RecordingDropped.model_validate(document)
        return answer.status, document


def blobs(peer: RunningPeer) -> list[Path]:
    return [path for path in (peer.root / "blobs").glob("??/??/*") if path.is_file()]


async def test_a_copy_goes_when_enough_others_prove_theirs_and_comes_back_when_somebody_asks(peers: Peers) -> None:
    alpha, beta, gamma = peers.values()
    size = (await alpha.get(RUN))["size_bytes"]

    status, tried = await drop(alpha, dry_run=True)
    assert (status, tried["dropped_bytes"], tried["state"]) == (200, size, "local")
    status, dropped = await drop(alpha)

    assert (status, dropped["dropped_bytes"], dropped["state"], dropped["bytes_here"]) == (200, size, "remote", 0)
    assert {each["name"] for each in dropped["proven"]} == {"beta", "gamma"}
    assert not blobs(alpha)
    assert not list((alpha.root / "recordings").rglob("*.mcap"))
    for peer in peers.values():
        shown = await peer.until(RUN, lambda shown: shown["copies"] == 2)
        assert {each["name"] for each in shown["replicas"]} == {"beta", "gamma"}

    for peer in (beta, gamma):
        status, refused = await drop(peer)
        assert (status, refused["code"]) == (409, "too_few_copies"), refused
        assert (await peer.get(RUN))["state"] == "local"
    await alpha.post(f"{RUN}/fetch")
    for peer in peers.values():
        await peer.until(RUN, lambda shown: shown["copies"] == 3)
    assert (await alpha.get(RUN))["state"] == "local"


async def test_of_two_that_drop_at_once_at_most_one_does_and_a_later_retry_does(peers: Peers) -> None:
    """Both ask while both hold: whoever is asked while it drops itself proves nothing."""
    alpha, beta, _ = peers.values()
    codes: set[str] = set()
    dropped: list[RunningPeer] = []
    async with asyncio.timeout(PATIENCE_S):
        while not dropped:
            answers = await asyncio.gather(drop(alpha), drop(beta))
            dropped = [peer for peer, (status, _) in zip((alpha, beta), answers, strict=True) if status == 200]
            codes |= {answer["code"] for status, answer in answers if status != 200}
            assert len(dropped) <= 1, answers
            assert len([peer for peer in peers.values() if blobs(peer)]) >= 2
            if not dropped and {status for status, _ in answers} == {409}:
                answers = [await drop(alpha)]  # The retry of one, later: the other has given up.
                dropped = [alpha] if answers[0][0] == 200 else []

    assert codes <= {"too_few_copies", "copy_promised"}
    assert codes
    for peer in peers.values():
        shown = await peer.until(RUN, lambda shown: shown["copies"] == 2)
        assert shown["state"] == ("remote" if peer is dropped[0] else "local")
    for peer in peers.values():
        if peer is not dropped[0]:
            assert (await drop(peer))[1]["code"] == "too_few_copies"


async def test_whoever_proved_does_not_drop_while_the_other_is_at_it_not_even_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promise is kept until the round is known to be over."""
    may_go, proofs_are_there = asyncio.Event(), asyncio.Event()
    ask_all = dropping.Dropping._ask_all

    async def stop_after_proofs(self: dropping.Dropping, *asked: Any) -> dict[PeerId, str]:
        reasons = await ask_all(self, *asked)
        if self._parts.me.hex() == ids["alpha"]:
            proofs_are_there.set()
            await may_go.wait()
            raise RequestError("given up")
        return reasons

    ids: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        found = {}
        for name in ("alpha", "beta"):
            found[name] = await stack.enter_async_context(running_peer(tmp_path / name, name, receipt_delay=0.05))
            ids[name] = found[name].peer_id
        alpha, beta = found.values()
        async with running_peer(tmp_path / "gamma", "gamma", receipt_delay=0.05) as gamma:
            await join(alpha, beta, gamma)
            await alpha.post(RECORDINGS, {"paths": [str(write_mcap(tmp_path / "run.mcap"))], "name": "run"}, status=201)
            for peer in (alpha, beta, gamma):
                await peer.until(RUN, lambda shown: shown["copies"] == 3 and shown["state"] == "local")
            monkeypatch.setattr(dropping.Dropping, "_ask_all", stop_after_proofs)
            first = asyncio.create_task(drop(alpha))
            async with asyncio.timeout(PATIENCE_S):
                await proofs_are_there.wait()

            _, refused = await drop(gamma)
            assert (refused["code"], refused["detail"].partition(":")[0]) == ("copy_promised", "alpha")
        async with running_peer(tmp_path / "gamma", "gamma", receipt_delay=0.05) as gamma:
            await gamma.until("/api/v1/status", lambda status: len([link for link in status["links"] if link["state"] == "up_to_date"]) == 2)
            assert (await drop(gamma))[1]["code"] == "copy_promised"
            may_go.set()
            assert (await first)[1]["code"] == "request_invalid"
            async with asyncio.timeout(PATIENCE_S):
                while (await drop(gamma))[0] != 200:  # noqa: ASYNC110  (another peer)
                    await asyncio.sleep(0.05)
        assert (await alpha.get(RUN))["state"] == "local"


async def test_who_says_that_it_holds_what_it_cannot_prove_is_not_counted_and_is_shown(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha, _, gamma = peers.values()
    honest = custody.Custody.prove

    async def lie(self: custody.Custody, peer: PeerId, want: Any) -> Any:
        if self._parts.me.hex() == gamma.peer_id:
            return [os.urandom(32) for _ in want.pieces]
        return await honest(self, peer, want)

    monkeypatch.setattr(custody.Custody, "prove", lie)
    status, refused = await drop(alpha)

    assert (status, refused["code"]) == (409, "too_few_copies")
    assert "gamma: possession_false" in refused["detail"]
    shown = await alpha.get(RUN)
    assert (shown["state"], shown["copies"], [each["name"] for each in shown["replicas"]]) == ("local", 2, ["beta", "alpha"])
    problems = (await alpha.get("/api/v1/status"))["problems"]
    assert [each["text"] for each in problems if each["code"] == "copy_unproven"], problems

    monkeypatch.setattr(custody.Custody, "prove", honest)
    assert (await drop(alpha))[0] == 200
    assert not [each for each in (await alpha.get("/api/v1/status"))["problems"] if each["code"] == "copy_unproven"]


async def test_what_is_dropped_does_not_come_back_by_itself(peers: Peers) -> None:
    """All three keep everything that they hear of, and hear of it again."""
    alpha, beta, _ = peers.values()
    assert (await drop(alpha))[0] == 200

    await beta.post(f"{RUN}/tags", {"add": ["again"]})
    await alpha.until(RUN, lambda shown: shown["tags"] == ["again"])
    await alpha.post("/api/v1/rebuild")
    assert not blobs(alpha)
    transfers = await alpha.get("/api/v1/transfers")
    assert not transfers, transfers
    assert (await drop(alpha))[1]["code"] == "no_change"


async def test_files_that_another_recording_has_stay(peers: Peers, tmp_path: Path) -> None:
    alpha, *others = peers.values()
    both = [str(tmp_path / "run_0.mcap"), str(write_mcap(tmp_path / "own.mcap", payload=b"own"))]
    await alpha.post(RECORDINGS, {"paths": both, "name": "second"}, status=201)
    for peer in peers.values():
        await peer.until(f"{RECORDINGS}/second", lambda shown: shown["copies"] == 3)
    first, second = await alpha.get(RUN), await alpha.get(f"{RECORDINGS}/second")
    shared = {each["blob_id"] for each in first["chunks"]} & {each["blob_id"] for each in second["chunks"]}
    assert len(shared) == 1

    status, dropped = await drop(alpha)

    assert (status, dropped["shared_bytes"] > 0, dropped["state"]) == (200, True, "partial")
    assert (await alpha.get(f"{RECORDINGS}/second"))["state"] == "local"
    assert {path.name for path in blobs(alpha)} >= shared
    for peer in others:
        await peer.until(RUN, lambda shown: shown["copies"] == 2)
        await peer.until(f"{RECORDINGS}/second", lambda shown: shown["copies"] == 3)


async def test_a_removed_site_is_no_copy_and_proves_nothing(peers: Peers) -> None:
    alpha, beta, gamma = peers.values()
    await alpha.call("DELETE", f"{GROUPS}/lab/members/{gamma.peer_id}", json={})

    for peer in (alpha, beta):
        await peer.until(RUN, lambda shown: {each["name"] for each in shown["replicas"]} == {"alpha", "beta"})
    status, refused = await drop(alpha)
    assert (status, refused["code"]) == (409, "too_few_copies"), refused
    few = (await alpha.get(f"{RECORDINGS}?few_copies=1"))["recordings"]
    assert not few
    await wants(alpha, 3)
    few = (await alpha.get(f"{RECORDINGS}?few_copies=1"))["recordings"]
    assert [each["name"] for each in few] == ["run"]
    await alpha.until("/api/v1/status", lambda status: status["groups"][0]["under_replicated"] == 1)


async def test_after_promises_were_lost_nothing_is_dropped_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "LOST_S", 3.0)
    async with running_peer(tmp_path / "beta", "beta", receipt_delay=0.05) as beta:
        async with running_peer(tmp_path / "alpha", "alpha", receipt_delay=0.05) as alpha:
            await join(beta, alpha)
            await alpha.post(RECORDINGS, {"paths": [str(write_mcap(tmp_path / "run.mcap"))], "name": "run"}, status=201)
            await alpha.until(RUN, lambda shown: shown["copies"] == 2)
        for path in (tmp_path / "alpha").glob("bytes.db*"):
            path.unlink()
        async with running_peer(tmp_path / "alpha", "alpha", receipt_delay=0.05) as alpha:
            assert (await drop(alpha))[1]["code"] == "promises_lost"
            async with asyncio.timeout(PATIENCE_S):
                while (answer := await drop(alpha))[0] != 200:
                    assert answer[1]["code"] in {"promises_lost", "too_few_copies"}, answer
                    await asyncio.sleep(0.1)


async def test_a_copy_that_came_back_is_not_taken_for_one_that_was_dropped(peers: Peers, tmp_path: Path) -> None:
    """Two recordings share a file. The first was dropped and is here again: what goes with the second must not be missing from it."""
    alpha, *others = peers.values()
    both = [str(tmp_path / "run_0.mcap"), str(write_mcap(tmp_path / "own.mcap", payload=b"own"))]
    await alpha.post(RECORDINGS, {"paths": both, "name": "second"}, status=201)
    for peer in peers.values():
        await peer.until(f"{RECORDINGS}/second", lambda shown: shown["copies"] == 3)
    assert (await drop(alpha))[0] == 200
    await alpha.post(f"{RUN}/fetch")
    await alpha.until(RUN, lambda shown: shown["state"] == "local" and shown["copies"] == 3)

    dropped = await alpha.post(f"{RECORDINGS}/second/drop", {})

    assert dropped["shared_bytes"] > 0
    assert (await alpha.get(RUN))["state"] == "local"
    assert (await drop(alpha))[0] == 200
    assert not blobs(alpha), "the file that both had goes with the last of them"
    for peer in others:
        await peer.until(RUN, lambda shown: shown["copies"] == 2)


async def test_a_file_of_many_recordings_stays_with_the_last_that_was_not_dropped(peers: Peers, tmp_path: Path) -> None:
    """As the one calibration of a week: more recordings have it than are looked at where it is only asked whether any does."""
    alpha = peers["alpha"]
    shared, names = tmp_path / "run_0.mcap", [f"day-{number}" for number in range(FILES_OF_BLOB_MAX + 1)]
    for name in names:
        own = write_mcap(tmp_path / f"{name}.mcap", payload=name.encode())
        await alpha.post(RECORDINGS, {"paths": [str(shared), str(own)], "name": name}, status=201)
    for name in names:
        await alpha.until(f"{RECORDINGS}/{name}", lambda shown: shown["copies"] == 3)

    for name in ("run", *names[:-1]):
        assert (await alpha.post(f"{RECORDINGS}/{name}/drop", {}))["shared_bytes"] > 0, name

    assert (await alpha.get(f"{RECORDINGS}/{names[-1]}"))["state"] == "local"
