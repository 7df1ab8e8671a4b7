"""Each signature and each certificate changed one at a time, and true runs cut off, out of order, or said again and again, over a live link."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from peer.core.certificate import CERTIFICATE_CONTEXT
from peer.core.encoding import encode
from peer.core.hashing import hash_bytes
from peer.core.identity import GroupId, LogId
from peer.core.run import Run, sign_run, signed_bytes
from tests.integration.hostile_peer import admit, entry, events, have, hostile_peer, rows
from tests.integration.hostile_scene import EVENTS, OTHER, Scene, event_id, forged, goes_on, scene, signed_by
from tests.samples import SampleLog, key_pair, parts
from tests.sync_site import events_of

__all__ = ["scene"]

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def with_order_added(signature: bytes) -> bytes:
    """The other form of a signature that careless libraries accept: S + L."""
    return signature[:32] + (int.from_bytes(signature[32:], "little") + ED25519_ORDER).to_bytes(32, "little")


SIGNATURES: Mapping[str, Callable[[SampleLog, Run], bytes]] = {
    "zeros": lambda _, __: bytes(64),
    "one bit of R": lambda _, run: bytes([run.signature[0] ^ 1]) + run.signature[1:],
    "one bit of S": lambda _, run: run.signature[:-1] + bytes([run.signature[-1] ^ 1]),
    "S + L": lambda _, run: with_order_added(run.signature),
    "by the peer key": lambda log, run: log.author.sign(_signed(log, run)),
    "by another log of the author": lambda log, run: SampleLog("mallory", log.certificate.group, label="another").key.sign(_signed(log, run)),
    "by another member": lambda log, run: key_pair("carol").sign(_signed(log, run)),
    "over the event before": lambda log, run: log.key.sign(signed_bytes(log.certificate.group, log.certificate.log, 1, run.events[1].id)),
    "over another seq": lambda log, run: log.key.sign(signed_bytes(log.certificate.group, log.certificate.log, 3, run.last.id)),
    "over another group": lambda log, run: log.key.sign(signed_bytes(GroupId(OTHER), log.certificate.log, 2, run.last.id)),
    "over another log": lambda log, run: log.key.sign(signed_bytes(log.certificate.group, LogId(OTHER), 2, run.last.id)),
    "over the log key in place of the log": lambda log, run: log.key.sign(signed_bytes(log.certificate.group, LogId(log.key.public), 2, run.last.id)),
    "under another context": lambda log, run: log.key.sign(_signed(log, run).replace(b"run", b"log")),
    "over the id alone": lambda log, run: log.key.sign(run.last.id),
}


def _signed(log: SampleLog, run: Run) -> bytes:
    return signed_bytes(log.certificate.group, log.certificate.log, run.last.header.seq, run.last.id)


@pytest.mark.parametrize("wrong", SIGNATURES)
async def test_another_signature_than_that_of_the_log_over_the_run(scene: Scene, wrong: str) -> None:
    log = scene.log()
    run = log.write_notes(EVENTS)
    before = rows(scene.lab, scene.site)
    await scene.mallory.announce(log)
    await scene.mallory.say(events(log, parts(run), SIGNATURES[wrong](log, run)))

    assert await scene.mallory.is_refused(log.certificate.log) == "signature_mismatch"
    await goes_on(scene, before)


CERTIFICATE_FIELDS = ("version", "group", "key", "kind", "peer", "signature")


@pytest.mark.parametrize("resigned", [False, True], ids=["changed after signing", "signed as it is"])
@pytest.mark.parametrize("name", CERTIFICATE_FIELDS)
async def test_a_field_of_a_certificate(scene: Scene, name: str, resigned: bool) -> None:  # noqa: FBT001
    """Announced with the id that belongs to what it says now."""
    log = scene.log()
    log.write_notes(EVENTS)
    certificate = log.certificate
    fields: dict[str, Any] = {"version": 1, **certificate._asdict()}
    others = {"version": 2, "group": OTHER, "key": key_pair("z").public, "kind": 2, "peer": key_pair("carol").public, "signature": bytes(64)}
    fields[name] = others[name]
    unsigned = [fields[each] for each in CERTIFICATE_FIELDS[:-1]]
    if resigned and name != "signature":
        fields["signature"] = key_pair("mallory").sign(CERTIFICATE_CONTEXT + encode(unsigned))
    signature = fields["signature"]
    log_id = LogId(hash_bytes(CERTIFICATE_CONTEXT + encode(unsigned)))
    before = rows(scene.lab, scene.site)
    await scene.mallory.say(have(scene.group, entry(log, encode([*unsigned, signature]))._replace(log=log_id)))
    if name == "key" and resigned:  # Mallory may take any key for her own: but nothing that is signed with it is of her log.
        run = log.write_notes(EVENTS)
        await scene.mallory.say(events_of(scene.group, run)._replace(log=log_id))
        assert await scene.mallory.is_refused(log_id) == "wrong_log"
    else:
        assert await scene.mallory.is_refused(log_id) == "certificate_invalid"
    await goes_on(scene, before)


async def test_a_certificate_that_is_not_that_of_the_announced_log_ends_the_link(scene: Scene) -> None:
    log, other = scene.log("one"), scene.log("other")
    log.write_notes(1)
    before = rows(scene.lab, scene.site)
    await scene.mallory.say(have(scene.group, entry(log, other.certificate.to_bytes())))

    assert await scene.mallory.is_shut_out() == "protocol_violation"
    assert rows(scene.lab, scene.site) == before


async def test_somebody_elses_log_certified_as_ones_own_is_another_log_and_begins_with_nothing(scene: Scene) -> None:
    """Alice's log is taken from Mallory's link under Alice's certificate, and under no other."""
    alices = SampleLog("carol", scene.group)
    await admit(scene.site, scene.group, key_pair("carol").peer_id)
    run = alices.write_notes(2)
    stolen = SampleLog("mallory", scene.group, label="stolen")
    unsigned = alices.certificate._replace(peer=key_pair("mallory").peer_id)
    stolen.certificate = unsigned._replace(signature=key_pair("mallory").sign(unsigned.signed))
    stolen.tip = alices.tip
    await scene.mallory.announce(stolen)
    await scene.mallory.say(events_of(scene.group, run)._replace(log=stolen.certificate.log))
    assert await scene.mallory.is_refused(stolen.certificate.log) == "wrong_log"

    await scene.mallory.give(alices, run)
    await scene.lab.wait(lambda: alices.certificate.log in scene.site.store.replica.groups[scene.group].tips)
    stored = await scene.site.store.event(run.last.id)
    assert stored is not None
    assert stored.author == key_pair("carol").peer_id


async def test_a_run_cut_off_at_every_length(scene: Scene) -> None:
    """Header or body of the middle event end too early; each time it is another log, signed as it is."""
    before = rows(scene.lab, scene.site)
    sample = scene.log("sample").write_notes(EVENTS).events[1]
    codes = set()
    cuts = [(length, None) for length in range(len(sample.header_bytes))] + [(None, length) for length in range(len(sample.body))]
    for number, (header_size, body_size) in enumerate(cuts):
        log = scene.log(f"cut {number}")
        run = log.write_notes(EVENTS)
        middle = (run.events[1].header_bytes[:header_size], run.events[1].body[:body_size])
        last = run.last.header._replace(previous=event_id(middle[0]))
        made = [parts(run)[0], middle, forged(list(last), run.last.body)]
        await scene.mallory.announce(log)
        await scene.mallory.say(events(log, made, signed_by(log, made)))
        codes.add(await scene.mallory.is_refused(log.certificate.log))

    assert codes == {"not_canonical", "body_mismatch"}
    await goes_on(scene, before)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0), (0, 0, 1, 2), (0, 2), (0, 1, 1, 2)])
async def test_events_of_a_run_in_another_order(scene: Scene, order: tuple[int, ...]) -> None:
    log = scene.log()
    run = log.write_notes(EVENTS)
    before = rows(scene.lab, scene.site)
    await scene.mallory.announce(log)
    await scene.mallory.say(events(log, [parts(run)[place] for place in order], run.signature))

    code = await scene.mallory.is_refused(log.certificate.log)
    assert code == ("log_gap" if order[-1] == EVENTS - 1 else "signature_mismatch")
    await goes_on(scene, before)


async def test_runs_in_another_order_are_taken_once_what_comes_before_is_here(scene: Scene) -> None:
    log = scene.log()
    runs = [log.write_notes(2) for _ in range(3)]
    await scene.mallory.announce(log)
    await scene.mallory.say(events_of(scene.group, runs[2]))
    await scene.mallory.is_heard_out()
    assert log.certificate.log not in scene.site.store.replica.groups[scene.group].tips
    await scene.mallory.say(*(events_of(scene.group, run) for run in runs))
    await scene.lab.wait(lambda: [tip.height for tip in scene.site.store.replica.groups[scene.group].tips.get(log.certificate.log, ())] == [6])

    await goes_on(scene, rows(scene.lab, scene.site))


async def test_a_run_replayed_a_hundred_times_is_stored_once(scene: Scene) -> None:
    log = scene.log()
    run = log.write_notes(1)
    before = rows(scene.lab, scene.site)
    await scene.mallory.announce(log)
    await scene.mallory.say(*[events_of(scene.group, run)] * 100)
    async with hostile_peer(scene.site, key_pair("mallory")) as again:  # On another link, too.
        await again.announce(log)
        await again.say(*[events_of(scene.group, run)] * 100)
        await again.is_heard_out()
        marker = scene.log("marker")
        await again.give(marker, marker.write_notes(1))
        await scene.lab.wait(lambda: marker.certificate.log in scene.site.store.replica.groups[scene.group].tips)

        assert rows(scene.lab, scene.site) == {name: count + 2 * (name != "groups") for name, count in before.items()}


async def test_an_event_signed_anew_is_the_same_event(scene: Scene) -> None:
    """Signatures are no part of what an event is: another cut of the same log is no second row."""
    log = scene.log()
    run = log.write_notes(EVENTS)
    await scene.mallory.give(log, run)
    for count in range(1, EVENTS):
        await scene.mallory.say(events_of(scene.group, sign_run(log.key, run.events[:count])))
    await scene.mallory.is_heard_out()
    marker = scene.log("marker")
    await scene.mallory.give(marker, marker.write_notes(1))
    await scene.lab.wait(lambda: marker.certificate.log in scene.site.store.replica.groups[scene.group].tips)

    assert scene.site.store.counts(scene.group).forks == 0
    assert (await scene.site.store.read_after(scene.group, log.certificate.log, (), 1 << 20)).runs[-1].last.id == run.last.id
