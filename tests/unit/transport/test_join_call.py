"""A request to join that waits for its answer: it gets one whatever goes wrong, and harms nobody else."""

import asyncio
from collections.abc import Callable

import pytest

from peer.core.group import join_bytes
from peer.core.identity import GroupId, PeerId
from peer.errors import MeshError, StoreError
from peer.sync import effects as fx
from peer.sync.asking import AskingOnce
from peer.sync.handshake import Handshake
from peer.sync.messages import Join
from peer.transport.connection import DecideJoinCall
from peer.transport.join_call import JoinCall
from tests.patience import PATIENCE_S
from tests.samples import key_pair
from tests.sync_site import Clock, SampleGroup, Site, side_of

INVITATION, ZOE = key_pair("invitation"), key_pair("zoe").peer_id


class Owner:
    """Decides as it is told to, and hears of errors."""

    def __init__(self, decide: Callable[[], None]) -> None:
        self.errors: list[Exception] = []

        async def decide_join(_group: GroupId, _key: bytes, _peer: PeerId, _name: str) -> None:
            decide()

        self.decide_join: DecideJoinCall = decide_join

    def pass_on(self, fact: fx.JoinPassed, connection: object) -> None:
        raise AssertionError(f"{fact} of {connection}: there is nobody else")

    def failed(self, error: StoreError) -> None:
        self.errors.append(error)

    def report(self, error: Exception) -> None:
        self.errors.append(error)


def call(owner: Owner) -> tuple[JoinCall, Join]:
    """Zoe's, at a member, and what she asks for."""
    group = SampleGroup("alice", "bob")
    side = side_of("bob")
    asking = AskingOnce(Site("bob", Clock(), group).surroundings, Handshake(side, None), 1)
    signature = INVITATION.sign(join_bytes(group.id, ZOE, side.nonce))
    return JoinCall(asking, owner, lambda: None), Join(group.id, INVITATION.public, signature, "zoe")


async def test_a_bug_in_deciding_is_an_answer_and_is_reported() -> None:
    """Nobody waits for ever, and nothing is kept of who did."""

    def wrong() -> None:
        raise ValueError("a bug")

    owner = Owner(wrong)
    joining, join = call(owner)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(MeshError) as refused:
            await joining.answer(ZOE, join)

    assert refused.value.code == "local_protocol"
    assert [type(error) for error in owner.errors] == [ValueError]


async def test_a_bug_while_it_waits_ends_it_and_not_who_tells_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every link hears of time from the same task."""

    def wrong(*_: object) -> list[fx.Effect]:
        raise ValueError("a bug")

    owner = Owner(lambda: None)
    joining, join = call(owner)
    monkeypatch.setattr(AskingOnce, "handle", wrong)
    waiting = asyncio.create_task(joining.answer(ZOE, join))
    await asyncio.sleep(0)
    joining.feed(fx.Tick())
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(MeshError) as refused:
            await waiting

    assert refused.value.code == "local_protocol"
    assert [type(error) for error in owner.errors] == [ValueError]
