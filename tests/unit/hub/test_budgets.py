"""How many requests somebody may make in a minute."""

from peer.hub.budgets import WINDOW_MS, Budgets


def test_a_budget_is_spent_and_whole_again_after_its_minute() -> None:
    budgets = Budgets(3, 10)

    taken = [budgets.take("a", 1000 + number) for number in range(5)]

    assert [each.is_spent for each in taken] == [False, False, False, True, True]
    assert [each.headers()["x-ratelimit-remaining"] for each in taken] == ["2", "1", "0", "0", "0"]
    assert taken[0].reset_s == 60
    assert not budgets.take("b", 1010).is_spent
    assert budgets.take("a", 1000 + WINDOW_MS - 1).reset_s == 1
    assert not budgets.take("a", 1000 + WINDOW_MS).is_spent


def test_so_many_names_are_counted_and_no_more() -> None:
    budgets = Budgets(1, 3)

    for number in range(100):
        assert not budgets.take(f"n{number}", 0).is_spent

    assert len(budgets._windows) == 3
    assert budgets.take("n99", 0).is_spent
