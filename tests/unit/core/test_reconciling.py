"""The ten cases of reconciling: every combination of what can be known is in exactly one, and nothing is brought or said without a reason."""

import itertools

import pytest

from peer.core.reconciling import NUMBERS, WRONG, Here, Proof, Row, is_to_come, row_of, says_so

EVERY = [
    (here, frozenset(proofs), is_said)
    for here in Here
    for count in range(len(Proof) + 1)
    for proofs in itertools.combinations(Proof, count)
    for is_said in (False, True)
]


@pytest.mark.parametrize(
    ("here", "proofs", "is_said", "row"),
    [
        (Here.SOUND, [], False, Row.ONLY_HERE),
        (Here.SOUND, [], True, Row.ONLY_HERE),
        (Here.SOUND, [Proof.ABSENT], True, Row.ONLY_HERE),
        (Here.SOUND, [Proof.RIGHT], False, Row.UNSAID),
        (Here.SOUND, [Proof.RIGHT], True, Row.SOUND),
        (Here.SOUND, [Proof.RIGHT, Proof.ABSENT, Proof.UNASKED], True, Row.SOUND),
        (Here.SOUND, [Proof.WRONG], True, Row.WRONG_ELSEWHERE),
        (Here.SOUND, [Proof.WRONG, Proof.RIGHT], False, Row.WRONG_ELSEWHERE),
        (Here.DAMAGED, [], False, Row.DAMAGED),
        (Here.DAMAGED, [Proof.RIGHT], True, Row.DAMAGED),
        (Here.ABSENT, [Proof.RIGHT], True, Row.ELSEWHERE),
        (Here.ABSENT, [Proof.RIGHT, Proof.WRONG], False, Row.ELSEWHERE),
        (Here.ABSENT, [], True, Row.MISSING),
        (Here.ABSENT, [Proof.WRONG], False, Row.MISSING),
        (Here.ABSENT, [Proof.ABSENT], False, Row.MISSING),
        (Here.SOUND, [Proof.UNASKED], True, Row.UNPROVEN),
        (Here.ABSENT, [Proof.UNASKED, Proof.WRONG], False, Row.UNPROVEN),
    ],
)
def test_a_file_is_in_the_case_that_the_table_says(here: Here, proofs: list[Proof], row: Row, *, is_said: bool) -> None:
    assert row_of(here, proofs, is_said=is_said) is row


def test_all_cases_of_files_occur_and_the_two_of_strays_are_no_cases_of_files() -> None:
    assert {row_of(here, proofs, is_said=said) for here, proofs, said in EVERY} == set(Row) - {Row.STRAY_HERE, Row.STRAY_ELSEWHERE}
    assert sorted(NUMBERS.values()) == list(range(1, 11))
    assert len(NUMBERS) == len(Row)


def test_what_lies_here_is_said_once_and_only_where_it_is_sound() -> None:
    for here, proofs, said in EVERY:
        row = row_of(here, proofs, is_said=said)
        assert says_so(row, here, is_said=said) == (here is Here.SOUND and not said)


def test_bytes_are_brought_where_they_are_damaged_or_meant_to_be_and_never_over_sound_ones() -> None:
    for here, proofs, said in EVERY:
        row = row_of(here, proofs, is_said=said)
        for meant in (False, True):
            expected = here is Here.DAMAGED or (here is Here.ABSENT and meant)
            assert is_to_come(row, here, is_meant=meant) == expected


def test_a_site_that_gives_wrong_bytes_is_never_a_copy() -> None:
    for here, said in itertools.product(Here, (False, True)):
        alone = row_of(here, [Proof.WRONG], is_said=said)
        assert alone in WRONG
