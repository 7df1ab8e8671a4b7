"""Deciding who joins, without a network: what is kept of those who ask."""

from types import SimpleNamespace

import pytest

from peer.core.identity import GroupId
from peer.errors import InvitationRefusedError
from peer.operations.joining import Joining
from tests.samples import key_pair


async def test_groups_that_strangers_name_and_nobody_knows_leave_nothing_behind() -> None:
    """Each costs them a request, and the next one may name another."""
    joining = Joining(key_pair("a"), None, SimpleNamespace(groups={}), None, None)  # type: ignore[arg-type]
    for number in range(10):
        with pytest.raises(InvitationRefusedError):
            await joining.decide(GroupId(bytes([number]) * 32), bytes(32), key_pair("b").peer_id, "b")

    assert not joining._deciding
