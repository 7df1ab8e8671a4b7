"""A relay that lies about signatures harms its own link alone: whoever gets pages from the others gets them whole, and ending on true signatures."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from nacl.signing import VerifyKey

from peer.core.certificate import Certificate, LogKind, certify
from peer.core.frontier import Tip
from peer.core.identity import GroupId, LogId
from peer.core.run import Draft
from peer.sync.messages import Events, Have, LogEntry, Want
from tests.integration.hostile_peer import HostilePeer, admit, database_of, hostile_peer, rows
from tests.link_lab import Lab, Site, target
from tests.samples import SampleLog, key_pair
from tests.sync_site import events_of

APPENDS = (1, 7, 300, 4)
"""Alice writes so many events at a time: what is longer than a run may be is signed in between."""


class Mesh(NamedTuple):
    """Alice wrote; Bob and Carol are members that have nothing yet but what the owner decided; Mallory, one too, holds all of Alice's log."""

    lab: Lab
    alice: Site
    bob: Site
    carol: Site
    group: GroupId
    certificate: Certificate
    held: tuple[Events, ...]

    @property
    def log(self) -> LogId:
        """Alice's."""
        return self.certificate.log

    @property
    def whole(self) -> tuple[Tip, ...]:
        """What everybody should have of it in the end."""
        return tuple(self.alice.store.replica.groups[self.group].tips[self.log])

    def has_all(self, site: Site) -> bool:
        """True once a site has."""
        return site.store.replica.groups[self.group].tips.get(self.log) == self.whole

    def announced(self) -> Have:
        """By Mallory."""
        return Have(self.group, complete=True, more=False, logs=(LogEntry(self.log, self.certificate.to_bytes(), self.whole),))

    def parts(self) -> tuple[tuple[bytes, bytes], ...]:
        """Headers and bodies of the whole log."""
        return tuple(event for message in self.held for event in message.events)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with AsyncExitStack() as stack:
        lab = Lab(tmp_path, stack)
        alice, bob, carol = [await lab.site(name) for name in ("alice", "bob", "carol")]
        group = await lab.found(alice)
        await admit(alice, group, bob.key.peer_id, carol.key.peer_id, key_pair("mallory").peer_id)
        control = alice.store.replica.groups[group]
        for site in (bob, carol):
            await site.store.create_group(control.genesis)
            for certificate in control.certificates.values():
                for run in (await alice.store.read_after(group, certificate.log, (), 1 << 20)).runs:
                    await site.store.append(certificate, run)
        for count in APPENDS:
            await alice.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * count)
        (certificate,) = [each for each in control.certificates.values() if each.kind is LogKind.DATA]
        async with hostile_peer(alice) as mallory:
            held = await taken_from(mallory, group, certificate.log, sum(APPENDS))
        yield Mesh(lab, alice, bob, carol, group, certificate, held)
        assert alice.errors == bob.errors == carol.errors == []


async def taken_from(peer: HostilePeer, group: GroupId, log: LogId, count: int) -> tuple[Events, ...]:
    """The log, as its author sends it."""
    await peer.hears(lambda message: isinstance(message, Have) and any(entry.log == log for entry in message.logs))
    await peer.say(Want(group, log, (), search=False))

    def held() -> list[Events]:
        return [message for message in peer.heard if isinstance(message, Events) and message.log == log]

    await peer.hears(lambda _: sum(len(message.events) for message in held()) >= count)
    return tuple(held())


async def check_signatures(mesh: Mesh, site: Site) -> int:
    """The oracle: every signature in a peer's log.db is Alice's, over the event that it stands at; how many there are."""
    assert (await site.store.verify()).ok
    with sqlite3.connect(database_of(mesh.lab, site)) as connection:
        sql = "SELECT e.id, e.height, e.signature FROM events e JOIN branches USING (branch_no) JOIN logs USING (log_no) WHERE log = ?"
        found = connection.execute(sql, (mesh.log,)).fetchall()
    connection.close()
    signed = [row for row in found if row[2] is not None]
    for event_id, height, signature in signed:
        said = b"recmesh/run/v1\0" + mesh.group + mesh.log + (height - 1).to_bytes(8, "big") + event_id
        VerifyKey(mesh.certificate.key).verify(said, signature)
    return len(signed)


@pytest.mark.parametrize("cut", [1, 5, 256])
async def test_pages_cut_where_nobody_signed_are_refused_and_the_log_comes_from_another_link(mesh: Mesh, cut: int) -> None:
    """The events are Alice's own, each of them; the signature at the cut is made up."""
    parts = mesh.parts()
    async with hostile_peer(mesh.carol) as mallory:
        await mallory.say(mesh.announced())
        await mallory.hears(lambda message: isinstance(message, Want) and message.log == mesh.log)
        await mallory.say(Events(mesh.group, mesh.log, key_pair("mallory").sign(b"a cut"), parts[:cut]))
        assert await mallory.is_refused(mesh.log) == "signature_mismatch"
        assert mesh.log not in mesh.carol.store.replica.groups[mesh.group].tips
        mesh.carol.links.set_targets([target(mesh.alice)])
        await mesh.lab.wait(lambda: mesh.has_all(mesh.carol))
        await mallory.is_heard_out()  # Its link stands, and what else it says counts.
        own = SampleLog("mallory", mesh.group)
        await mallory.give(own, own.write_notes(1))
        await mesh.lab.wait(lambda: own.certificate.log in mesh.carol.store.replica.groups[mesh.group].tips)
    assert await check_signatures(mesh, mesh.carol) >= len(mesh.held)


async def test_a_true_run_with_a_signature_of_another_run_is_refused_and_comes_from_another_link(mesh: Mesh) -> None:
    async with hostile_peer(mesh.carol) as mallory:
        await mallory.say(mesh.announced())
        await mallory.say(mesh.held[0]._replace(signature=mesh.held[-1].signature))
        assert await mallory.is_refused(mesh.log) == "signature_mismatch"
        await mallory.say(*mesh.held)  # Too late: this link had its say about this log.
        await mallory.is_heard_out()
        assert mesh.log not in mesh.carol.store.replica.groups[mesh.group].tips
        mesh.carol.links.set_targets([target(mesh.alice)])
        await mesh.lab.wait(lambda: mesh.has_all(mesh.carol))


async def test_what_a_liar_gives_a_relay_does_not_spoil_the_pages_of_the_relay(mesh: Mesh) -> None:
    """Mallory gives Bob all of Alice's log truly, then again and again with signatures that she made up. Carol knows Bob alone."""
    async with hostile_peer(mesh.bob) as mallory:
        await mallory.say(mesh.announced())
        await mallory.hears(lambda message: isinstance(message, Want) and message.log == mesh.log)
        await mallory.say(*mesh.held)
        await mesh.lab.wait(lambda: mesh.has_all(mesh.bob))
    before, signatures = rows(mesh.lab, mesh.bob), await check_signatures(mesh, mesh.bob)
    parts = mesh.parts()
    for cut in (1, 2, 8, 100):
        async with hostile_peer(mesh.bob) as mallory:  # A link has one say about a log: each lie comes by another.
            await mallory.say(mesh.announced())
            await mallory.say(Events(mesh.group, mesh.log, mesh.held[0].signature[:32] + bytes(32), parts[:cut]))
            assert await mallory.is_refused(mesh.log) == "signature_mismatch"
            await mallory.is_heard_out()
    assert rows(mesh.lab, mesh.bob) == before
    assert await check_signatures(mesh, mesh.bob) == signatures

    mesh.carol.links.set_targets([target(mesh.bob)])
    await mesh.lab.wait(lambda: mesh.has_all(mesh.carol))

    assert await check_signatures(mesh, mesh.carol) >= 1
    assert not mesh.carol.links.is_linked(mesh.alice.key.peer_id)


async def test_carol_gets_everything_while_a_relay_that_lies_and_one_that_does_not_are_both_linked(mesh: Mesh) -> None:
    """Mallory is asked first, since she announces first, and lies; Bob, linked all the time, learns the log later and is asked then."""
    mesh.carol.links.set_targets([target(mesh.bob)])
    await mesh.lab.wait(lambda: mesh.carol.links.is_linked(mesh.bob.key.peer_id))
    async with hostile_peer(mesh.carol) as mallory:
        await mallory.say(mesh.announced())
        await mallory.hears(lambda message: isinstance(message, Want) and message.log == mesh.log)
        mesh.bob.links.set_targets([target(mesh.alice)])
        await mesh.lab.wait(lambda: mesh.has_all(mesh.bob))
        await mallory.say(Events(mesh.group, mesh.log, bytes(64), mesh.parts()[:8]))
        await mesh.lab.wait(lambda: mesh.has_all(mesh.carol))
        assert await mallory.is_refused(mesh.log) == "signature_mismatch"
    assert await check_signatures(mesh, mesh.carol) >= 1


async def test_a_key_with_two_certificates_is_two_logs_at_every_peer_in_whatever_order(mesh: Mesh) -> None:
    """Mallory certifies one key as data and as control, and Carol's friend Zoe does so too; Bob and Carol hear of them in opposite orders."""
    zoe = key_pair("zoe")
    await admit(mesh.alice, mesh.group, zoe.peer_id)
    shared = key_pair("a key of two")
    logs = []
    for peer, kind in (("mallory", LogKind.DATA), ("mallory", LogKind.CONTROL), ("zoe", LogKind.DATA)):
        log = SampleLog(peer, mesh.group)
        log.key, log.certificate = shared, certify(key_pair(peer), mesh.group, shared.public, kind)
        logs.append((log, log.write_notes(2)))
    mesh.bob.links.set_targets([target(mesh.alice)])
    mesh.carol.links.set_targets([target(mesh.alice)])
    await mesh.lab.wait(lambda: mesh.has_all(mesh.bob) and mesh.has_all(mesh.carol))
    for site, order in ((mesh.bob, logs), (mesh.carol, logs[::-1])):
        async with hostile_peer(site) as mallory:
            for log, run in order:
                await mallory.announce(log)
                await mallory.say(events_of(mesh.group, run))
                await mallory.is_heard_out()
    sites = (mesh.alice, mesh.bob, mesh.carol)
    await mesh.lab.wait(lambda: mesh.alice.tips(mesh.group) == mesh.bob.tips(mesh.group) == mesh.carol.tips(mesh.group))

    for site in sites:
        assert (await site.store.verify()).ok
        for log, run in logs:
            stored = await site.store.event(run.last.id)
            assert stored is not None
            assert (stored.author, stored.kind) == (log.certificate.peer, log.certificate.kind)
