"""Genesis records, whose hash is the group, and invitations, in which no typo goes unnoticed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.group import (
    ENDPOINT_CHARACTERS_MAX,
    INVITATION_CONTEXT,
    Genesis,
    Invitation,
    check_join,
    join_bytes,
    read_genesis,
    read_invitation,
)
from peer.core.hashing import hash_bytes
from peer.core.identity import GroupId
from peer.errors import InvitationInvalidError, RemoteProtocolError
from tests.samples import GROUP, START_MS, genesis, key_pair

ALICE, BOB = key_pair("alice"), key_pair("bob")
INVITATION = Invitation(GROUP, "field-tests", ALICE.peer_id, BOB.peer_id, "https://bob.example:7850", Role.WRITER, START_MS, key_pair("invite").seed)
LINE = INVITATION.to_text()
SOME_LINES = [INVITATION._replace(group_name="g" * size).to_text() for size in range(1, 6)]


def record(*fields: object) -> tuple[bytes, GroupId]:
    """A genesis record with its true hash: what is wrong with it is wrong further in."""
    data = encode(list(fields))
    return data, GroupId(hash_bytes(data))


def checked(*fields: object) -> str:
    """An invitation of these fields with a true checksum."""
    data = encode(list(fields))
    return "recmesh1" + base64.b32encode(data + hash_bytes(data)[:4]).decode().rstrip("=").lower()


def test_a_genesis_record_is_read_as_it_was_written() -> None:
    written = genesis("alice", "bob")

    assert read_genesis(written.to_bytes(), written.group) == written


def test_the_group_id_pins_every_field() -> None:
    first = genesis()
    others = [
        first._replace(name="other"),
        first._replace(owners=(BOB.peer_id,)),
        first._replace(nonce=b"\1" * 32),
        first._replace(created_ms=START_MS + 1),
        first._replace(policy={"a": 1}),
    ]

    assert len({each.group for each in [first, *others]}) == 6
    for other in others:
        with pytest.raises(RemoteProtocolError):
            read_genesis(other.to_bytes(), first.group)


NONCE = bytes(32)
OWNERS = [ALICE.public]


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (1,),
        (2, "name", OWNERS, NONCE, 0, {}),
        (True, "name", OWNERS, NONCE, 0, {}),
        (1, "name", OWNERS, NONCE, 0, {}, 0),
        (1, "", OWNERS, NONCE, 0, {}),
        (1, "../up", OWNERS, NONCE, 0, {}),
        (1, "a" * 129, OWNERS, NONCE, 0, {}),
        (1, b"name", OWNERS, NONCE, 0, {}),
        (1, "name", [], NONCE, 0, {}),
        (1, "name", OWNERS * 2, NONCE, 0, {}),
        (1, "name", [bytes([number]) * 32 for number in range(17)], NONCE, 0, {}),
        (1, "name", [ALICE.public[:31]], NONCE, 0, {}),
        (1, "name", ["x" * 32], NONCE, 0, {}),
        (1, "name", [None, ALICE.public], NONCE, 0, {}),
        (1, "name", {}, NONCE, 0, {}),
        (1, "name", OWNERS, NONCE[:31], 0, {}),
        (1, "name", OWNERS, None, 0, {}),
        (1, "name", OWNERS, NONCE, -1, {}),
        (1, "name", OWNERS, NONCE, True, {}),
        (1, "name", OWNERS, NONCE, "0", {}),
        (1, "name", OWNERS, NONCE, 0, []),
        (1, "name", OWNERS, NONCE, 0, None),
        (1, "name", OWNERS, NONCE, 0, {"big": bytes(8192)}),
    ],
)
def test_a_wrong_genesis_record_is_refused_though_its_hash_is_right(fields: tuple[object, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        read_genesis(*record(*fields))


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xd8\x1c\x80", encode([1]) + b"\0"])
def test_a_genesis_record_that_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_genesis(data, GroupId(hash_bytes(data)))


def test_an_invitation_is_read_as_it_was_written() -> None:
    assert read_invitation(LINE) == INVITATION
    assert INVITATION.key.seed == INVITATION.seed


def test_an_invitation_is_one_line_of_plain_letters() -> None:
    assert LINE.isascii()
    assert LINE.isalnum()
    assert len(LINE) < 500


@pytest.mark.parametrize("damage", [str.upper, lambda line: f"  {line}\n", lambda line: "\r\n".join((line[:60], line[60:])), " ".join])
def test_what_mail_and_terminals_do_to_a_line_does_no_harm(damage: object) -> None:
    assert callable(damage)
    assert read_invitation(damage(LINE)) == INVITATION


@given(st.sampled_from(SOME_LINES), st.data())
def test_every_wrong_character_is_noticed(line: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(line) - 1))
    character = data.draw(st.characters(exclude_characters=line[place] + line[place].upper()).filter(lambda each: not each.isspace()))

    with pytest.raises(InvitationInvalidError):
        read_invitation(line[:place] + character + line[place + 1 :])


@pytest.mark.parametrize("line", SOME_LINES)
def test_every_letter_in_place_of_the_last_is_noticed(line: str) -> None:
    """The last character of base 32 may have bits that no byte needs: a plain decoder takes any letter that agrees in the others."""
    for character in "abcdefghijklmnopqrstuvwxyz234567=":
        if character != line[-1]:
            with pytest.raises(InvitationInvalidError):
                read_invitation(line[:-1] + character)


@given(st.data())
def test_every_missing_doubled_or_exchanged_character_is_noticed(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(LINE) - 2))
    exchanged = LINE[:place] + LINE[place + 1] + LINE[place] + LINE[place + 2 :]
    for damaged in (LINE[:place] + LINE[place + 1 :], LINE[:place] + LINE[place] + LINE[place:], exchanged, LINE[:place]):
        if damaged != LINE:
            with pytest.raises(InvitationInvalidError):
                read_invitation(damaged)


@given(st.text())
def test_any_text_is_an_invitation_or_is_refused(text: str) -> None:
    for line in (text, "recmesh1" + text):
        with pytest.raises(InvitationInvalidError):
            read_invitation(line)


@pytest.mark.parametrize(
    "text", ["", "recmesh1", "recmesh1=", "recmesh2" + LINE[8:], "recmesh1" + "a" * 50_000_000, "recmesh1\0", LINE + "=", LINE + LINE]
)
def test_what_is_no_invitation_is_refused(text: str) -> None:
    with pytest.raises(InvitationInvalidError) as caught:
        read_invitation(text)
    assert caught.value.fix


GOOD = (1, GROUP, "field-tests", ALICE.public, BOB.public, "https://bob.example:7850", 2, START_MS, bytes(32))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),
        (0, True),
        (0, "1"),
        *((place, value) for place in (1, 3, 4, 8) for value in (b"", bytes(31), bytes(33), "x" * 32, None)),
        *((2, value) for value in ("", "../up", "a" * 129, b"name", None)),
        *((5, value) for value in ("x" * (ENDPOINT_CHARACTERS_MAX + 1), "https://a\x1b[2J", "https://a\n", b"https://a", None)),
        *((6, value) for value in (-1, 4, 5, True, "writer", None)),
        *((7, value) for value in (-1, True, "0", None)),
    ],
)
def test_an_invitation_with_a_wrong_field_is_refused_though_its_checksum_is_right(place: int, value: object) -> None:
    fields: list[object] = [*GOOD]
    fields[place] = value

    with pytest.raises(InvitationInvalidError):
        read_invitation(checked(*fields))
    assert read_invitation(checked(*GOOD))


def test_who_holds_the_invitation_key_can_show_it_once() -> None:
    nonce, key = bytes(range(32)), INVITATION.key
    signature = key.sign(join_bytes(GROUP, BOB.peer_id, nonce))

    assert check_join(key.public, GROUP, BOB.peer_id, nonce, signature)
    assert not check_join(key.public, GROUP, ALICE.peer_id, nonce, signature)
    assert not check_join(key.public, GROUP, BOB.peer_id, bytes(32), signature)
    assert not check_join(key.public, genesis(name="other").group, BOB.peer_id, nonce, signature)
    assert not check_join(BOB.public, GROUP, BOB.peer_id, nonce, signature)
    assert not check_join(b"", GROUP, BOB.peer_id, nonce, b"")
    assert join_bytes(GROUP, BOB.peer_id, nonce) == INVITATION_CONTEXT + GROUP + BOB.public + nonce


def test_a_group_may_have_sixteen_owners() -> None:
    owners = [f"owner {number}" for number in range(16)]
    written: Genesis = genesis(*owners)

    assert read_genesis(written.to_bytes(), written.group).owners == tuple(key_pair(owner).peer_id for owner in owners)
