"""How many lines may be written about somebody."""

from peer.core.allowance import NAMES_MAX, Allowances


def test_so_many_at_once_and_so_many_a_minute_are_written_and_the_rest_is_counted() -> None:
    allowances = Allowances(burst=3, per_minute=6)

    assert [allowances.take("a", 0.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert [allowances.take("b", 0.0), allowances.take(None, 0.0)] == [0, 0]
    assert allowances.take("a", 9.0) is None
    assert allowances.take("a", 11.0) == 3
    assert allowances.take("a", 22.0) == 0


def test_it_never_becomes_more_than_at_first() -> None:
    allowances = Allowances(burst=2, per_minute=60)

    assert [allowances.take("a", at) for at in (0.0, 1000.0, 1000.0, 1000.0)] == [0, 0, 0, None]


def test_there_are_so_many_names_and_no_more() -> None:
    allowances = Allowances(burst=1, per_minute=1)
    for number in range(3 * NAMES_MAX):
        allowances.take(str(number), 0.0)

    assert len(allowances._buckets) <= NAMES_MAX
