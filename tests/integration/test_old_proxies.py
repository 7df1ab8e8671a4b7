"""Links where something in between lets no WebSocket pass: over requests, through proxies with limits of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.identity import GroupId
from peer.core.run import Draft
from peer.errors import MeshError
from peer.sync import limits
from peer.transport import opening, poll_client
from peer.transport.channel import CODE_HEADER
from tests.link_lab import Lab, Site, Target, target
from tests.old_proxy import OldProxy, old_proxy

NOTE = Draft("test.note", b"\xa0")
KIB = 1024


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


async def joined(lab: Lab, proxy: OldProxy, a: Site) -> tuple[Site, GroupId]:
    """A site that joined through the proxy, and dials through it from now on."""
    b = await lab.site("b")
    group = await lab.found(a)
    await b.links.join((await lab.invitation(a, group))._replace(endpoint=proxy.url))
    b.links.set_targets([target(a, proxy.url)])
    await lab.wait(lambda: a.tips(group) == b.tips(group) and carriers(b) == ["poll"])
    return b, group


def carriers(site: Site) -> list[object]:
    """How its links travel."""
    return [link["carrier"] for link in site.links.links()]


@pytest.mark.parametrize("status", [200, 400, 403, 404, 502])
async def test_where_an_upgrade_is_refused_requests_carry_the_link(lab: Lab, status: int) -> None:
    """Both sides say how it travels, and events go both ways."""
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard, upgrade_status=status))
    b, group = await joined(lab, proxy, a)
    await a.store.write(group, LogKind.DATA, [NOTE] * 300)
    await b.store.write(group, LogKind.DATA, [NOTE] * 300)
    await lab.wait(lambda: a.tips(group) == b.tips(group) and len(b.store.replica.groups[group].tips) == 3)

    assert carriers(a) == ["poll"]
    assert proxy.upgrades == 1


async def test_where_an_upgrade_is_not_answered_requests_carry_the_link(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CONNECT_TIMEOUT_S", 1.0)
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard, upgrade_status=None))
    await joined(lab, proxy, a)

    assert proxy.upgrades == 1


async def test_websockets_are_tried_again_after_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in between may have been changed; until then no time is lost with what does not work."""
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard))
    b, _ = await joined(lab, proxy, a)
    b.hang_up()
    await lab.wait(lambda: carriers(b) == [None])
    await lab.wait(lambda: carriers(b) == ["poll"])
    assert proxy.upgrades == 1

    monkeypatch.setattr(opening, "UPGRADE_REFUSED_MS", 0)
    b.links.upgrades.refused(proxy.url, 0)
    b.hang_up()
    await lab.wait(lambda: proxy.upgrades == 2)
    await lab.wait(lambda: carriers(b) == ["poll"])


async def test_a_refusal_with_a_code_of_ours_is_an_answer(lab: Lab) -> None:
    """Whoever refuses for a reason is not asked by another way."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    proxy = await lab.enter(old_proxy(a.heard, upgrade_status=403, upgrade_headers={CODE_HEADER: "channel_unprotected"}))
    with pytest.raises(MeshError) as caught:
        await b.links.join((await lab.invitation(a, group))._replace(endpoint=proxy.url))

    assert caught.value.code == "channel_unprotected"
    assert proxy.passed == 0


@pytest.mark.parametrize("status", [404, 200])
async def test_what_knows_neither_is_reported_with_what_it_said_first(lab: Lab, status: int) -> None:
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    proxy = await lab.enter(old_proxy(a.heard, upgrade_status=status, answers=[(status, {})]))
    with pytest.raises(MeshError, match=f"it answers {status}") as caught:
        await b.links.join((await lab.invitation(a, group))._replace(endpoint=proxy.url))

    assert caught.value.code == "unreachable"


async def test_what_is_too_large_for_a_proxy_goes_in_smaller_pieces(lab: Lab) -> None:
    """413 halves what a request brings; the link stays, and nothing is lost or out of order."""
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard, body_max=300 * KIB))
    b, group = await joined(lab, proxy, a)
    connection = b.links.link_to(a.key.peer_id)
    proxy.answers.append((429, {"Retry-After": "1"}))  # Meanwhile much gathers.
    for _ in range(40):
        await b.store.write(group, LogKind.DATA, [Draft("test.note", encode({"a": bytes(25 * KIB)}))])
    await lab.wait(lambda: a.tips(group) == b.tips(group))

    assert proxy.too_large > 0
    assert 100 * KIB < proxy.largest <= 300 * KIB
    assert b.links.link_to(a.key.peer_id) is connection


async def test_a_frame_that_is_too_large_alone_is_a_clear_error(lab: Lab) -> None:
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard, body_max=8 * KIB))
    b, group = await joined(lab, proxy, a)
    await b.store.write(group, LogKind.DATA, [Draft("test.note", encode({"a": bytes(25 * KIB)}))])
    await lab.wait(lambda: b.links.links()[0]["last_error"] is not None and carriers(b) == [None])

    error = b.links.links()[0]["last_error"]
    assert isinstance(error, dict)
    assert error["code"] == "frame_too_large"


async def test_who_wants_us_to_wait_is_waited_for(lab: Lab) -> None:
    """429 with Retry-After is no failure: the same connection goes on."""
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard))
    b, group = await joined(lab, proxy, a)
    connection = b.links.link_to(a.key.peer_id)
    proxy.answers += [(429, {"Retry-After": "1"}), (503, {"Retry-After": "1"})]
    before = asyncio.get_running_loop().time()
    await b.store.write(group, LogKind.DATA, [NOTE])
    await lab.wait(lambda: a.tips(group) == b.tips(group))

    assert not proxy.answers
    assert asyncio.get_running_loop().time() - before >= 2
    assert b.links.link_to(a.key.peer_id) is connection


async def test_who_wants_us_to_wait_for_ever_is_dialled_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting has an end; then the dialler waits, who shows why there is no link."""
    monkeypatch.setattr(poll_client, "WAITS_MAX", 1)
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard))
    b, group = await joined(lab, proxy, a)
    proxy.answers += [(429, {"Retry-After": "1"})] * 3
    connection = b.links.link_to(a.key.peer_id)
    await b.store.write(group, LogKind.DATA, [NOTE])
    await lab.wait(lambda: b.links.link_to(a.key.peer_id) is not connection and a.tips(group) == b.tips(group))

    assert not proxy.answers


async def test_an_answer_that_does_not_come_ends_the_connection(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_client, "ANSWER_TIMEOUT_S", 1.0)
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard))
    b, group = await joined(lab, proxy, a)
    connection = b.links.link_to(a.key.peer_id)
    proxy.answers.append((0, {}))
    await b.store.write(group, LogKind.DATA, [NOTE])
    await lab.wait(lambda: b.links.link_to(a.key.peer_id) is not connection and a.tips(group) == b.tips(group))

    assert not proxy.answers


@pytest.mark.parametrize("answer", [(429, {}), (429, {"Retry-After": "3600"}), (500, {}), (302, {"Location": "http://127.0.0.1:1/"})])
async def test_any_other_failure_ends_the_connection_and_it_is_dialled_again(lab: Lab, answer: tuple[int, dict[str, str]]) -> None:
    """And nothing is lost: a new link begins with what both hold."""
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard))
    b, group = await joined(lab, proxy, a)
    connection = b.links.link_to(a.key.peer_id)
    proxy.answers.append(answer)
    await b.store.write(group, LogKind.DATA, [NOTE] * 3)
    await lab.wait(lambda: b.links.link_to(a.key.peer_id) is not connection and a.tips(group) == b.tips(group))

    assert not proxy.answers


async def test_a_link_that_says_nothing_is_kept_up_by_pings(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Liveness is the session's, whatever carries it."""
    monkeypatch.setattr(limits, "PING_INTERVAL_MS", 100)
    monkeypatch.setattr("peer.transport.links.TICK_S", 0.05)
    a = await lab.site("a")
    proxy = await lab.enter(old_proxy(a.heard))
    b, _ = await joined(lab, proxy, a)
    connection = b.links.link_to(a.key.peer_id)
    assert connection is not None
    await lab.wait(lambda: connection.session.liveness.rtt_ms is not None)
    before = proxy.passed
    await lab.wait(lambda: proxy.passed > before + 10)

    assert b.links.link_to(a.key.peer_id) is connection


async def test_a_websocket_is_used_where_it_works(lab: Lab) -> None:
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.links.set_targets([Target(a.key.peer_id, "a", (a.endpoint,))])
    await lab.wait(lambda: a.tips(group) == b.tips(group) and carriers(b) == ["websocket"])

    assert carriers(a) == ["websocket"]
