"""What stands between two peers: operators' certificates, proxies that end TLS, and whoever only says so. Real sockets, real TLS."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from peer.api.models import Group, RecordingDetails
from peer.cli.sample import write_sample
from peer.core.certificate import LogKind
from peer.core.group import read_invitation
from peer.core.identity import GroupId
from peer.core.run import Draft
from peer.errors import MeshError
from peer.transport.channel import ChannelRules
from peer.transport.tls import operator_tls
from tests.integration.running_peer import running_peer
from tests.link_lab import Lab, Site, Target
from tests.tls_proxy import ending_tls, make_certificate

GROUPS = "/api/v1/sync/groups"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path / "sites", stack)


async def refused(lab: Lab, joiner: Site, inviter: Site, group: GroupId, endpoint: str) -> str:
    """The code of what comes of a join at `endpoint`."""
    with pytest.raises(MeshError) as caught:
        await joiner.links.join((await lab.invitation(inviter, group))._replace(endpoint=endpoint))
    assert group not in joiner.store.replica.groups
    assert not inviter.admitted
    return caught.value.code


@pytest.mark.parametrize("kind", ["ec", "rsa"])
async def test_an_operators_certificate_is_taken_where_the_endpoint_pins_its_key(lab: Lab, tmp_path: Path, kind: str) -> None:
    files = make_certificate(tmp_path / "tls", kind=kind)
    a, b = await lab.site("a", tls=operator_tls(files.certificate, files.key)), await lab.site("b")
    group = await lab.found(a)
    pinned = f"{a.heard}#spki={files.spki.hex()}"

    await b.links.join((await lab.invitation(a, group))._replace(endpoint=pinned))
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 5)
    await lab.wait(lambda: a.tips(group) == b.tips(group))


async def test_an_operators_certificate_is_refused_where_nothing_or_another_key_is_pinned(lab: Lab, tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    a, b = await lab.site("a", tls=operator_tls(files.certificate, files.key)), await lab.site("b")
    group = await lab.found(a)

    assert await refused(lab, b, a, group, a.heard) == "channel_key_mismatch"
    assert await refused(lab, b, a, group, f"{a.heard}#spki={os.urandom(32).hex()}") == "channel_key_mismatch"


async def test_a_proxy_that_ends_tls_is_bound_into_the_handshake_by_both_sides(lab: Lab, tmp_path: Path) -> None:
    """Two proxies with different keys stand before one listener; each dialler meets the one that it was told of."""
    first, second = make_certificate(tmp_path / "tls", "first"), make_certificate(tmp_path / "tls", "second")
    async with ending_tls(first) as (one, behind_one), ending_tls(second) as (other, behind_other):
        rules = ChannelRules(proxy_keys=(first.spki, second.spki))
        a = await lab.site("a", rules=rules, endpoint=one.pinned(first.spki))
        behind_one.append(a.heard)
        behind_other.append(a.heard)
        group = await lab.found(a)
        b, c = await lab.site("b"), await lab.site("c")
        await b.links.join(await lab.invitation(a, group))
        await c.links.join((await lab.invitation(a, group))._replace(endpoint=other.pinned(second.spki)))
        await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 5)
        await b.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 5)
        await lab.wait(lambda: a.tips(group) == b.tips(group) == c.tips(group))

        assert (one.connections, other.connections) == (1, 1)


async def test_a_proxy_that_the_listener_was_not_told_of_fails_the_handshake(lab: Lab, tmp_path: Path) -> None:
    """Even if the dialler was told: the two sides sign different keys."""
    files, told = make_certificate(tmp_path / "tls"), make_certificate(tmp_path / "tls", "told")
    async with ending_tls(files) as (proxy, behind):
        for rules in (ChannelRules(), ChannelRules(proxy_keys=(told.spki,))):
            a, b = await lab.site(f"a{len(rules.proxy_keys)}", rules=rules), await lab.site(f"b{len(rules.proxy_keys)}")
            behind[:] = [a.heard]
            group = await lab.found(a)

            assert await refused(lab, b, a, group, proxy.pinned(files.spki)) == "handshake_failed"


async def test_a_proxy_that_the_dialler_was_not_told_of_is_not_spoken_to(lab: Lab, tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    async with ending_tls(files) as (proxy, behind):
        a, b = await lab.site("a", rules=ChannelRules(proxy_keys=(files.spki,))), await lab.site("b")
        behind.append(a.heard)
        group = await lab.found(a)

        assert await refused(lab, b, a, group, proxy.url) == "channel_key_mismatch"
        assert proxy.passed_in == 0


async def test_behind_a_proxy_a_direct_connection_does_not_pass_for_one_through_it(lab: Lab, tmp_path: Path) -> None:
    """It comes from the proxy's address, so the listener signs the proxy's key: a process beside it cannot relay what somebody said in clear."""
    files = make_certificate(tmp_path / "tls")
    a, b = await lab.site("a", rules=ChannelRules(proxy_keys=(files.spki,))), await lab.site("b")
    group = await lab.found(a)

    assert await refused(lab, b, a, group, a.heard) == "handshake_failed"


async def test_a_man_in_the_middle_is_refused_and_sees_nothing_and_the_good_link_goes_on(lab: Lab, tmp_path: Path) -> None:
    """His certificate is neither the peer's nor pinned; where he talked the dialler into his pin the listener signs another key."""
    mallory = make_certificate(tmp_path / "tls", "mallory")
    async with ending_tls(mallory) as (middle, behind):
        a, b, good = await lab.site("a", tls=True), await lab.site("b"), await lab.site("good")
        behind.append(a.heard)
        group = await lab.found(a)
        assert await refused(lab, b, a, group, middle.url) == "channel_key_mismatch"
        assert middle.passed_in == 0
        assert await refused(lab, b, a, group, middle.pinned(mallory.spki)) == "handshake_failed"

        await good.links.join(await lab.invitation(a, group))
        good.links.set_targets([Target(a.key.peer_id, "a", (a.endpoint,))])
        b.links.set_targets([Target(a.key.peer_id, "a", (middle.url,))])
        await lab.wait(lambda: b.links.links()[0]["state"] == "refused")
        await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 5)
        await lab.wait(lambda: a.tips(group) == good.tips(group))

        assert b.links.links()[0]["last_error"]["code"] == "channel_key_mismatch"
        assert a.links.linked_peers() == [good.key.peer_id]


async def test_of_several_endpoints_the_good_one_is_used(lab: Lab, tmp_path: Path) -> None:
    mallory = make_certificate(tmp_path / "tls", "mallory")
    async with ending_tls(mallory) as (middle, behind):
        a, b = await lab.site("a", tls=True), await lab.site("b")
        behind.append(a.heard)
        group = await lab.found(a)
        await b.links.join(await lab.invitation(a, group))
        await lab.wait(lambda: a.tips(group) == b.tips(group))
        b.links.set_targets([Target(a.key.peer_id, "a", (middle.url, a.endpoint))])
        await lab.wait(lambda: b.links.links()[0]["state"] == "up_to_date")


async def test_nobody_is_led_elsewhere(lab: Lab) -> None:
    """A redirect, even to a place that would be allowed, is not followed."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    asked: list[str] = []

    async def lead(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound(f"{a.endpoint}/sync/v1/link")

    app = web.Application()
    app.add_routes([web.get("/sync/v1/link", lead)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        assert await refused(lab, b, a, group, f"http://127.0.0.1:{runner.addresses[0][1]}") == "unreachable"
    finally:
        await runner.cleanup()
    assert asked == ["/sync/v1/link"]


@pytest.mark.parametrize("front", ["proxy", "certificate"])
async def test_a_whole_peer_tells_others_its_key_with_its_address(tmp_path: Path, front: str) -> None:
    """What is configured goes into invitations by itself; links and bytes pass; nothing else was distributed."""
    files = make_certificate(tmp_path / "tls")
    bag = tmp_path / "a.mcap"
    write_sample(bag, 128 * 1024, 1)
    async with ending_tls(files) as (proxy, behind), contextlib.AsyncExitStack() as stack:
        settings = {"channel_keys": [files.spki.hex()], "advertise": [proxy.url]}
        if front == "certificate":
            settings = {"tls_cert": str(files.certificate), "tls_key": str(files.key)}
        alpha = await stack.enter_async_context(running_peer(tmp_path / "alpha", "alpha", **settings))
        beta = await stack.enter_async_context(running_peer(tmp_path / "beta", "beta"))
        behind.append(alpha.listen)
        await alpha.post(GROUPS, {"name": "lab"})
        await alpha.post("/api/v1/recordings", {"paths": [str(bag)]}, RecordingDetails)
        made = await alpha.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})

        assert read_invitation(made["invitation"]).endpoint.endswith(f"#spki={files.spki.hex()}")
        assert (await alpha.get("/api/v1/status"))["endpoint"] == read_invitation(made["invitation"]).endpoint
        await beta.post(f"{GROUPS}/join", {"invitation": made["invitation"]}, Group)
        await beta.until("/api/v1/recordings/a", lambda recording: recording["state"] == "local")
        assert front == "certificate" or proxy.connections >= 2  # The link, and the bytes.
