"""Which offered groups are taken: from the peer that was named, under the name that was said, once, and never over another group of the name."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peer.core.group import Genesis
from peer.core.identity import GroupId, PeerId
from peer.errors import NameTakenError, RemoteProtocolError
from peer.operations.acquaintance import Acquaintance
from tests.samples import genesis, key_pair

ME, FRIEND, STRANGER = (key_pair(name).peer_id for name in ("me", "friend", "stranger"))


class Book:
    """The operator's entries, in memory."""

    def __init__(self, **expects: str) -> None:
        self.entries = {key_pair(name).peer_id: SimpleNamespace(name=name, expects=frozenset({group})) for name, group in expects.items()}
        self.groups: dict[PeerId, GroupId] = {}

    def entry(self, peer: PeerId) -> Any:
        return self.entries.get(peer)

    async def introduce(self, peer: PeerId, name: str, endpoints: Sequence[str], groups: Iterable[GroupId], expects: Iterable[str]) -> None:
        raise NotImplementedError

    async def set_paused(self, peer: PeerId, name: str, *, paused: bool) -> None:
        raise NotImplementedError

    async def fulfil(self, peer: PeerId, name: str, group: GroupId) -> None:
        self.entries[peer].expects = frozenset(each for each in self.entries[peer].expects if each.casefold() != name.casefold())
        self.groups[peer] = group

    async def remove(self, peer: PeerId) -> None:
        del self.entries[peer]


class Held:
    """Groups that are here, as store and replica at once."""

    def __init__(self, *groups: Genesis) -> None:
        self.groups: dict[GroupId, Any] = {each.group: SimpleNamespace(genesis=each) for each in groups}

    async def create_group(self, made: Genesis) -> None:
        await asyncio.sleep(0)  # It takes a commit.
        self.groups[made.group] = SimpleNamespace(genesis=made)


def acquaintance(book: Book, held: Held) -> Acquaintance:
    """What decides on offers."""
    parts: Any = (held, held, book, lambda: None)
    return Acquaintance(ME, parts, None)  # type: ignore[arg-type]


async def test_a_group_of_the_expected_name_is_taken_from_the_peer_that_was_named() -> None:
    book, held, offered = Book(friend="LAB"), Held(), genesis("friend", name="lab")

    assert await acquaintance(book, held).take_offer(FRIEND, offered.group, offered.to_bytes())

    assert list(held.groups) == [offered.group]
    assert book.groups == {FRIEND: offered.group}
    assert not book.entries[FRIEND].expects


async def test_what_nobody_expects_is_passed_over() -> None:
    offered = genesis("friend", name="lab")
    for book, remote in ((Book(friend="other"), FRIEND), (Book(friend="lab"), STRANGER), (Book(), FRIEND)):
        held = Held()
        assert not await acquaintance(book, held).take_offer(remote, offered.group, offered.to_bytes())
        assert not held.groups


async def test_a_name_is_expected_once() -> None:
    book, held = Book(friend="lab"), Held()
    first, second = genesis("friend", name="lab"), genesis("stranger", name="lab")
    asked = acquaintance(book, held)

    assert await asked.take_offer(FRIEND, first.group, first.to_bytes())
    assert not await asked.take_offer(FRIEND, second.group, second.to_bytes())
    assert list(held.groups) == [first.group]


async def test_of_groups_of_one_name_that_are_offered_at_once_one_is_taken() -> None:
    book, held = Book(friend="lab", stranger="lab"), Held()
    offers = [(FRIEND, genesis("friend", name="lab")), (FRIEND, genesis("me", name="lab")), (STRANGER, genesis("stranger", name="LAB"))]
    asked = acquaintance(book, held)

    taken = await asyncio.gather(*(asked.take_offer(remote, offered.group, offered.to_bytes()) for remote, offered in offers), return_exceptions=True)

    assert len(held.groups) == 1
    assert taken[:2] == [True, False]
    assert isinstance(taken[2], NameTakenError)


async def test_another_group_of_the_name_is_not_replaced_and_both_ids_are_told_until_that_is_settled() -> None:
    here, offered = genesis("me", name="Lab"), genesis("friend", name="lab")
    book, held = Book(friend="lab"), Held(here)
    asked = acquaintance(book, held)

    with pytest.raises(NameTakenError, match=offered.group.hex()) as refused:
        await asked.take_offer(FRIEND, offered.group, offered.to_bytes())

    assert here.group.hex() in refused.value.text
    assert list(held.groups) == [here.group]
    assert asked.conflicts() == {FRIEND: refused.value}
    del held.groups[here.group]
    assert await asked.take_offer(FRIEND, offered.group, offered.to_bytes())
    assert not asked.conflicts()


async def test_a_beginning_that_is_not_that_of_the_group_is_refused() -> None:
    offered, other = genesis("friend", name="lab"), genesis("stranger", name="lab")

    for data in (other.to_bytes(), offered.to_bytes()[:-1], b""):
        held = Held()
        with pytest.raises(RemoteProtocolError):
            await acquaintance(Book(friend="lab"), held).take_offer(FRIEND, offered.group, data)
        assert not held.groups


async def check_offers(_: Path) -> None:
    """All of the above, for planted bugs."""
    await test_a_group_of_the_expected_name_is_taken_from_the_peer_that_was_named()
    await test_what_nobody_expects_is_passed_over()
    await test_a_name_is_expected_once()
    await test_another_group_of_the_name_is_not_replaced_and_both_ids_are_told_until_that_is_settled()
    await test_a_beginning_that_is_not_that_of_the_group_is_refused()
