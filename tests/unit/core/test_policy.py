"""Rules about which bytes come here: how they are read, and what they say."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.policy import CONDITIONS_MAX, RULES_MAX, STATES, Decision, Rule, Subject, changes_ms, decide, fits, looks_at, read_rules
from peer.errors import RuleInvalidError

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
RUN = Subject(
    "Run-1",
    "robot-1",
    "a1b2c3d4" * 8,
    "Truck-7",
    NOW_MS - 10 * DAY_MS,
    5_000_000_000,
    "complete",
    ["crash", "night"],
    {"operator": "alice", "title": "A drive = a try", "autonomous": "true"},
    ["/camera/front", "/odom"],
    ["sensor_msgs/msg/Image"],
    ["pothole"],
)


def says(*rules: str) -> Decision:
    """What rules say of the recording above."""
    return decide(read_rules(rules), RUN, NOW_MS)


@pytest.mark.parametrize(
    "condition",
    [
        *("tag=crash", "tag=cr*", "tag!=day", "property=operator=alice", "property=operator", "property=autonomous=true"),
        *("'property=title=A drive = a try'", '"property=title=A drive*"', "property!=operator=bob", "property!=place"),
        *("site=truck-7", "site=TRUCK-*", "site=a1b2c3", "site!=a1b2c4", "machine=robot-1", "machine=*-1", "name=run-1"),
        *("topic=/odom", "topic=/camera/*", "topic!=/lidar*", "schema=sensor_msgs/*/Image", "annotation=pothole", "annotation!=fire"),
        *("state=complete", "state!=open", "age<11d", "age<=10d", "age>=10d", "age>9d", "age<2w", "age>=240h", "age>14399m", "age>1s"),
        *("size<5001MB", "size<=5GB", "size>=5GB", "size>4GiB", "size<1TB", "size>1B"),
    ],
)
def test_a_rule_keeps_what_its_condition_says(condition: str) -> None:
    assert says(f"keep {condition}").keep


@pytest.mark.parametrize(
    "condition",
    [
        *("tag=cras", "tag=Crash", "tag!=night", "tag=c*x*", "property=operator=bob", "property=place", "property!=operator", "property!=title=A*"),
        *("site=truck", "site=a1b2c", "site=a1b2c4", "machine=robot-1x", "machine=Robot-1", "name=run"),
        *("topic=/camera", "topic!=/odom", "schema=Image", "annotation=pot", "state=open", "state=incomplete"),
        *("age<10d", "age>10d", "age<=9d", "age>=241h", "size<5GB", "size>5GB", "size<=4999MB", "size>=5GiB"),
    ],
)
def test_a_rule_says_nothing_of_what_its_condition_does_not_fit(condition: str) -> None:
    assert says(f"keep {condition}") == Decision(keep=False, reason="no rule fits")


def test_all_conditions_of_a_rule_must_hold() -> None:
    assert says("keep tag=crash age<30d size<20GB").keep
    assert not says("keep tag=crash age<30d size<2GB").keep


def test_the_first_rule_that_fits_decides_and_is_named() -> None:
    assert says("skip size>20GB", "keep@3 tag=crash", "skip") == Decision(keep=True, priority=3, number=2, reason="rule 2: keep@3 tag=crash")
    assert says("skip size>2GB", "keep@3 tag=crash", "keep") == Decision(keep=False, number=1, reason="rule 1: skip size>2GB")
    assert says("keep tag=rain", "keep@-4") == Decision(keep=True, priority=-4, number=2, reason="rule 2: keep@-4")


def test_all_and_none_are_rules_without_conditions() -> None:
    assert [rule.text for rule in read_rules(["all"])] == ["keep"]
    assert [rule.text for rule in read_rules(["skip tag=a", "none"])] == ["skip tag=a", "skip"]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "0"),
        (["keep tag=a"] * (RULES_MAX + 1), str(RULES_MAX + 1)),
        ([""], "rule 1 is empty"),
        (["   "], "rule 1 is empty"),
        (["keep tag=a", "keep 'tag=a"], "rule 2 has a quotation mark"),
        (["tag=crash"], "rule 1 begins with 'tag=crash'"),
        (["Keep"], "rule 1 begins with 'Keep'"),
        (["keep@10"], "rule 1 begins with"),
        (["keep@"], "rule 1 begins with"),
        (["skip@2 tag=a"], "rule 1 gives what it skips a priority"),
        (["keep", "tag=crash"], "rule 2 is never reached"),
        (["keep", "skip tag=crash"], "rule 2 is never reached"),
        (["keep" + " tag=a" * (CONDITIONS_MAX + 1)], "rule 1 has 17 conditions"),
        (["keep " + "x" * 2000], "rule 1 has 2005 characters"),
        (["keep tag=a\nskip"], "rule 1 has characters that cannot be printed"),
        (["keep tag=\ud800"], "rule 1 has characters that cannot be printed"),
        (["keep crash"], "rule 1 has no condition in 'crash'"),
        (["keep tag="], "rule 1 has no condition in 'tag='"),
        (["keep colour=red"], "rule 1: nothing is known of 'colour'"),
        (["keep tag<crash"], "rule 1: tag is neither more nor less"),
        (["keep topic=/a*b*c*d*e*f"], "rule 1: topic has more than 4 wildcards"),
        (["keep state=local"], "rule 1: no rule can look for the state 'local'"),
        (["keep age=30d"], "rule 1: age is compared with"),
        (["keep age!=30d"], "rule 1: age is compared with"),
        (["keep age<30"], "rule 1: '30' is no age"),
        (["keep age<-3d"], "rule 1: '-3d' is no age"),
        (["keep age<1.5d"], "rule 1: '1.5d' is no age"),
        (["keep age<9999999999999999d"], "is no age"),
        (["keep age<\u0663d"], "is no age"),
        (["keep size<5G"], "rule 1: '5G' is no size"),
        (["keep size<30d"], "rule 1: '30d' is no size"),
    ],
)
def test_a_rule_that_says_nothing_is_refused_with_its_number_and_what_to_do(rules: list[str], said: str) -> None:
    with pytest.raises(RuleInvalidError) as caught:
        read_rules(rules)

    assert said in caught.value.text
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 300
    assert caught.value.fix


def test_rules_say_which_facts_they_need() -> None:
    rules = read_rules(["keep tag=a", "keep topic=/a", "skip"])

    assert looks_at(rules, "topic", "schema")
    assert not looks_at(rules, "annotation")


TEXTS = st.text("ab*=\"'\\ /é$", min_size=1, max_size=12).filter(lambda text: text.count("*") <= 4)
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from(["tag", "property", "site", "machine", "name", "topic", "schema", "annotation"]), st.sampled_from(["=", "!="]), TEXTS),
    st.tuples(st.just("state"), st.sampled_from(["=", "!="]), st.sampled_from(STATES)),
    st.tuples(st.just("age"), st.sampled_from(["<", "<=", ">", ">="]), st.integers(0, 300).map(lambda number: f"{number}h")),
    st.tuples(st.just("size"), st.sampled_from(["<", "<=", ">", ">="]), st.integers(0, 6000).map(lambda number: f"{number}MB")),
)


@st.composite
def rule_texts(draw: st.DrawFn) -> str:
    action = draw(st.sampled_from(["keep", "skip", "keep@9", "keep@-9", "keep@+3", "keep@0"]))
    conditions = draw(st.lists(CONDITIONS, min_size=1, max_size=4))
    quoted = ["'" + "".join(each).replace("'", "'\"'\"'") + "'" for each in conditions]
    return " ".join([action, *quoted])


@given(st.lists(st.one_of(st.text(max_size=60), st.from_regex(r"(keep|skip)(@[0-9-]+)?( ['\"]?[a-z]{3,8}[=<>!]{1,2}[^ ]*){0,3}")), max_size=4))
def test_any_texts_are_rules_or_are_refused(texts: list[str]) -> None:
    refused: RuleInvalidError | None = None
    rules: tuple[Rule, ...] = ()
    try:
        rules = read_rules(texts)
    except RuleInvalidError as error:
        refused = error

    assert refused is None or (refused.text.isprintable() and refused.fix)
    assert len(rules) == (len(texts) if refused is None else 0)
    assert not rules or read_rules([rule.text for rule in rules]) == rules
    decide(rules, RUN, NOW_MS)


@given(st.lists(rule_texts(), min_size=1, max_size=5))
def test_rules_that_are_shown_and_read_again_are_the_same(texts: list[str]) -> None:
    rules = read_rules(texts)

    assert read_rules([rule.text for rule in rules]) == rules


@given(st.lists(rule_texts(), min_size=1, max_size=5), st.integers(0, 300 * 3_600_000), st.floats(0, 1))
def test_nothing_is_decided_otherwise_before_the_moment_that_was_told(texts: list[str], now_ms: int, part: float) -> None:
    rules = read_rules(texts)
    subject = RUN._replace(created_ms=0)
    change = changes_ms(rules, subject, now_ms)

    last_ms = now_ms + 10**9 if change is None else change - 1
    for moment in (now_ms, now_ms + int((last_ms - now_ms) * part), last_ms):
        assert decide(rules, subject, moment) == decide(rules, subject, now_ms)
    assert change is None or change > now_ms


def test_the_moment_that_is_told_is_the_one_at_which_a_recording_is_too_old() -> None:
    for rule, first_ms in (("keep age<1h", 3_600_000), ("keep age<=1h", 3_600_001), ("skip age>1h", 3_600_001), ("skip age>=1h", 3_600_000)):
        rules, subject = read_rules([rule, *(["keep"] if rule.startswith("skip") else [])]), RUN._replace(created_ms=0)
        assert changes_ms(rules, subject, 0) == first_ms
        assert decide(rules, subject, first_ms - 1).keep
        assert not decide(rules, subject, first_ms).keep
        assert changes_ms(rules, subject, first_ms) is None


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_wildcard_stands_for_any_characters(pattern: str, text: str) -> None:
    """As a regular expression says it."""
    expression = ".*".join(map(re.escape, pattern.split("*")))

    assert fits(pattern, text) == (re.fullmatch(expression, text) is not None)


def test_a_pattern_that_was_made_to_take_long_does_not() -> None:
    began = time.process_time()

    assert not fits("*a" * 5000 + "b", "a" * 1_000_000)

    assert time.process_time() - began < 5
