from pathlib import Path

import pytest

from tests.spreading import Spreading, group_of

TESTS = Path(__file__).parent.parent
IN_GROUPS = sorted(str(each) for each in TESTS.rglob("test_*.py") if "mark.xdist_group(" in each.read_text() and each != Path(__file__))


@pytest.mark.parametrize("path", IN_GROUPS)
def test_every_file_that_names_a_group_is_seen_to_be_in_it(path: str) -> None:
    assert group_of(path)


def test_tests_of_a_group_are_dealt_out_together_and_all_others_alone() -> None:
    commands = [str(TESTS / f"end_to_end/test_{name}_commands.py") for name in ("watch", "policy")]
    spreading = Spreading.__new__(Spreading)

    together = {spreading._split_scope(f"{path}::test_{number}") for path in commands for number in range(2)}
    alone = {spreading._split_scope(f"{__file__}::test_{number}") for number in range(2)}

    assert together == {"commands"}
    assert len(alone) == 2
