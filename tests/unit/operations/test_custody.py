"""What a site promises when it is asked for proofs: what it could not remember, and what it does not have, it did not promise."""

from typing import Any

import pytest

from peer.core.custody import Subject
from peer.core.identity import EventId, PeerId
from peer.errors import DiskFullError, NotFoundError
from peer.sync.blob_messages import PossessionWant
from tests.copies_lab import GROUP, RECORDING, SUBJECT, WANTED, Lab, Process

ASKER, ROUND = PeerId(b"a" * 32), b"r" * 32


def question(recording: EventId = RECORDING) -> PossessionWant:
    return PossessionWant(0, GROUP, recording, ROUND, ((WANTED[0].blob, 0),))


async def prover() -> Process:
    lab = Lab(1, 1, 1, faulty=False)
    lab.members.add(ASKER)
    await lab.sites[0].start()
    process = lab.sites[0].process
    assert process is not None
    return process


async def test_nothing_is_proven_by_a_promise_that_could_not_be_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question of a round came while the disk was full, the next does not: after a crash the promise must be there."""
    process = await prover()
    remember, full = process.memory.promise, [True]

    async def promise(*what: Any) -> None:
        if full.pop():
            raise DiskFullError("the disk is full")
        await remember(*what)

    monkeypatch.setattr(process.memory, "promise", promise)
    with pytest.raises(DiskFullError):
        await process.custody.prove(ASKER, question())
    full.append(False)

    assert await process.custody.prove(ASKER, question())
    assert process.site.promises == {(SUBJECT, ASKER): ROUND}
    process.crash()


async def test_a_round_for_one_recording_brings_no_promise_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who asks for recordings that there are none of could let promises grow without end."""
    process = await prover()

    async def wanted_blobs(_: object, recordings: list[EventId]) -> list[Any]:
        return WANTED if recordings == [RECORDING] else []

    monkeypatch.setattr(process, "wanted_blobs", wanted_blobs)
    assert await process.custody.prove(ASKER, question())

    for number in range(3):
        with pytest.raises(NotFoundError):
            await process.custody.prove(ASKER, question(EventId(bytes([number]) * 32)))

    assert [subject for subject, _ in process.custody.promises] == [Subject(GROUP, RECORDING)]
    process.crash()


async def test_the_end_of_an_older_round_forgets_no_newer_promise_that_was_given_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    process, newer = await prover(), b"n" * 32
    await process.custody.prove(ASKER, question())

    async def released(_: object, blobs: set[Any]) -> dict[Any, set[PeerId]]:
        await process.custody.prove(ASKER, question()._replace(round_id=newer))
        return {blob: {ASKER} for blob in blobs}

    monkeypatch.setattr(process, "released", released)
    await process.custody.settle([SUBJECT])

    assert [each.round_id for _, each in process.custody.promises] == [newer]
    assert process.site.promises == {(SUBJECT, ASKER): newer}
    process.crash()
