"""Which bytes a site wants to have: rules as people write them, and what they say of a recording. Pure.

The first rule whose conditions all hold decides. A recording that no rule fits is skipped. Nothing that depends on which bytes are here is looked at:
a rule that let bytes come could otherwise be the reason why it fits no more.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

from peer.core.finding import WILDCARD, WILDCARDS_MAX
from peer.core.names import folded
from peer.errors import RuleInvalidError

RULES_MAX = 64
CONDITIONS_MAX = 16
"""Of one rule."""
RULE_CHARACTERS_MAX = 1024
PRIORITY_MAX = 9
"""And as much below zero."""
ID_DIGITS_MIN = 6
"""Of an id, for a site that is not called by its name."""
MS_PER_S = 1000

Word = Literal["tag", "property", "site", "machine", "name", "topic", "schema", "state", "annotation"]
Measure = Literal["age", "size"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]
STATES = ("open", "complete", "incomplete")
"""Still recorded; finalized and all of it known; finalized, and what it lists is not known, or is something else."""

ACTIONS = {"keep": True, "skip": False}
WHOLE = {"all": "keep", "none": "skip"}
"""Words for a rule without conditions."""
WORDS: Sequence[Word] = ("tag", "property", "site", "machine", "name", "topic", "schema", "state", "annotation")
AGE_UNITS_MS = {"s": MS_PER_S, "m": 60 * MS_PER_S, "h": 3600 * MS_PER_S, "d": 86_400 * MS_PER_S, "w": 604_800 * MS_PER_S}
SIZE_UNITS = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
FORM = 'write each rule as one argument: "keep tag=crash size<20GB", "skip age>30d", "keep@5 site=truck-7"; see `recmesh policy set --help`'

_ACTION = re.compile(r"(keep|skip)(?:@([+-]?[0-9]))?\Z")
_CONDITION = re.compile(r"([a-z]+)(!=|<=|>=|=|<|>)(.+)\Z", re.DOTALL)
_PLAIN = re.compile(r"[^\s'\"\\]+\Z")
_AMOUNT = re.compile(r"([0-9]{1,15})([A-Za-z]{1,3})\Z")
_COMPARE: Mapping[Operator, Callable[[int, int], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
T = TypeVar("T")


class Subject(NamedTuple):
    """What rules look at of a recording."""

    name: str
    machine: str
    site: str
    """The id of who made it, in hexadecimal digits."""
    site_name: str
    created_ms: int
    size: int
    """Of its chunks, in bytes."""
    state: str
    """One of `STATES`."""
    tags: Iterable[str] = ()
    properties: Mapping[str, str] = {}
    """Values as text."""
    topics: Iterable[str] = ()
    schemas: Iterable[str] = ()
    annotations: Iterable[str] = ()
    """The labels of what was said about it."""


_WORDS_OF: Mapping[str, Callable[[Subject], Iterable[str]]] = {
    "tag": lambda subject: subject.tags,
    "topic": lambda subject: subject.topics,
    "schema": lambda subject: subject.schemas,
    "annotation": lambda subject: subject.annotations,
    "machine": lambda subject: (subject.machine,),
    "state": lambda subject: (subject.state,),
}


class Condition(NamedTuple):
    """One thing that must hold."""

    key: Word | Measure
    operator: Operator
    value: str
    """As it was written."""
    amount: int = 0
    """Milliseconds of an age, bytes of a size."""

    def holds(self, subject: Subject, now_ms: int) -> bool:
        """Whether it is so at `now_ms`."""
        if self.key == "age":
            return _COMPARE[self.operator](now_ms - subject.created_ms, self.amount)
        if self.key == "size":
            return _COMPARE[self.operator](subject.size, self.amount)
        return self._is_there(subject) == (self.operator == "=")

    def changes_ms(self, subject: Subject) -> int | None:
        """When it begins or ceases to hold because time passes; None if it never does."""
        if self.key != "age":
            return None
        return subject.created_ms + self.amount + (self.operator in {"<=", ">"})

    def _is_there(self, subject: Subject) -> bool:
        match self.key:
            case "property":
                key, equals, value = self.value.partition("=")
                return key in subject.properties and (not equals or fits(value, subject.properties[key]))
            case "site":
                is_id = len(self.value) >= ID_DIGITS_MIN and subject.site.startswith(self.value)
                return is_id or fits(folded(self.value), folded(subject.site_name))
            case "name":
                return fits(folded(self.value), folded(subject.name))
            case _:
                return any(fits(self.value, each) for each in _WORDS_OF[self.key](subject))


class Rule(NamedTuple):
    """What is done with recordings of which all conditions hold."""

    keep: bool
    priority: int
    conditions: Sequence[Condition]

    @property
    def text(self) -> str:
        """As people write it."""
        action = ("keep" if self.keep else "skip") + (f"@{self.priority}" if self.priority else "")
        return " ".join([action, *(_quoted(f"{each.key}{each.operator}{each.value}") for each in self.conditions)])

    def fits(self, subject: Subject, now_ms: int) -> bool:
        """Whether it says something of this recording."""
        return all(each.holds(subject, now_ms) for each in self.conditions)


class Decision(NamedTuple):
    """What is to be done with the bytes of a recording."""

    keep: bool
    priority: int = 0
    number: int | None = None
    """Of the rule that says so, from 1; None if none does."""
    reason: str = "no rule fits"


def read_rules(texts: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that people wrote, one text each. Raises `RuleInvalidError` that names the first that is wrong."""
    if not 1 <= len(texts) <= RULES_MAX:
        raise RuleInvalidError(f"a policy has 1 to {RULES_MAX} rules, and these are {len(texts)}", fix=FORM)
    rules: list[Rule] = []
    for number, text in enumerate(texts, 1):
        if rules and not rules[-1].conditions:
            raise RuleInvalidError(
                f"rule {number} is never reached: rule {number - 1} is for all recordings", fix=f"put it in front of that, or quote: {FORM}"
            )
        rules.append(_read_rule(number, text))
    return tuple(rules)


def decide(rules: Sequence[Rule], subject: Subject, now_ms: int) -> Decision:
    """What the first rule that fits says."""
    for number, rule in enumerate(rules, 1):
        if rule.fits(subject, now_ms):
            return Decision(rule.keep, rule.priority, number, f"rule {number}: {rule.text}")
    return Decision(keep=False)


def changes_ms(rules: Sequence[Rule], subject: Subject, now_ms: int) -> int | None:
    """When the next condition changes because time passes, after `now_ms`: what is decided until then stays. None if none ever does."""
    moments = (each.changes_ms(subject) for rule in rules for each in rule.conditions)
    return min((moment for moment in moments if moment is not None and moment > now_ms), default=None)


def looks_at(rules: Sequence[Rule], *keys: Word) -> bool:
    """Whether a condition is about one of these."""
    return any(condition.key in keys for rule in rules for condition in rule.conditions)


def fits(pattern: str, text: str) -> bool:
    """Whether a text is what a pattern says, in which `*` stands for any characters. In time proportional to both, whatever they are."""
    first, *rest = pattern.split(WILDCARD)
    if not rest:
        return text == pattern
    *between, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in between:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _quoted(text: str) -> str:
    return text if _PLAIN.match(text) else shlex.quote(text)


def _read_rule(number: int, text: str) -> Rule:
    if len(text) > RULE_CHARACTERS_MAX:
        raise RuleInvalidError(f"rule {number} has {len(text)} characters", fix=f"a rule has up to {RULE_CHARACTERS_MAX}")
    if not text.isprintable():
        raise RuleInvalidError(f"rule {number} has characters that cannot be printed", fix="leave them out")
    try:
        action, *conditions = shlex.split(WHOLE.get(text.strip(), text))
    except ValueError as error:
        why = "is empty" if not text.strip() else "has a quotation mark without another one"
        raise RuleInvalidError(f"rule {number} {why}", fix=FORM) from error
    found = _ACTION.match(action)
    if found is None:
        raise RuleInvalidError(f"rule {number} begins with {action[:80]!r}, not with keep or skip", fix=FORM)
    keep, priority = ACTIONS[found[1]], int(found[2] or 0)
    if priority and not keep:
        raise RuleInvalidError(f"rule {number} gives what it skips a priority", fix="leave it out: what does not come has none")
    if len(conditions) > CONDITIONS_MAX:
        raise RuleInvalidError(f"rule {number} has {len(conditions)} conditions", fix=f"a rule has up to {CONDITIONS_MAX}")
    return Rule(keep, priority, tuple(_read_condition(number, each) for each in conditions))


def _read_condition(number: int, text: str) -> Condition:
    found = _CONDITION.match(text)
    if found is None:
        raise RuleInvalidError(f"rule {number} has no condition in {text[:80]!r}", fix="write a word, a sign and a value: tag=crash, age<30d")
    key, operator, value = found[1], _one_of(found[2], ("=", "!=", *_COMPARE)), found[3]
    assert operator is not None, "the pattern knows no other"
    if key in {"age", "size"}:
        return _read_measure(number, "age" if key == "age" else "size", operator, value)
    word = _one_of(key, WORDS)
    if word is None:
        raise RuleInvalidError(f"rule {number}: nothing is known of {key[:80]!r}", fix=f"write one of {', '.join(WORDS)}, age, size")
    if operator in _COMPARE:
        raise RuleInvalidError(f"rule {number}: {key} is neither more nor less than anything", fix=f"write {key}={value[:80]} or {key}!={value[:80]}")
    if value.count(WILDCARD) > WILDCARDS_MAX:
        raise RuleInvalidError(f"rule {number}: {key} has more than {WILDCARDS_MAX} wildcards", fix="leave some out")
    if word == "state" and value not in STATES:
        fix = f"write one of {', '.join(STATES)}: which bytes are here is no reason to want them, or not to"
        raise RuleInvalidError(f"rule {number}: no rule can look for the state {value[:80]!r}", fix=fix)
    return Condition(word, operator, value)


def _read_measure(number: int, key: Measure, operator: Operator, value: str) -> Condition:
    units = AGE_UNITS_MS if key == "age" else SIZE_UNITS
    if operator not in _COMPARE:
        raise RuleInvalidError(f"rule {number}: {key} is compared with <, <=, > or >=", fix=f"write {key}<{value[:80]}, for one")
    found = _AMOUNT.match(value)
    if found is None or found[2] not in units:
        raise RuleInvalidError(f"rule {number}: {value[:80]!r} is no {key}", fix=f"write a whole number and one of {', '.join(units)}")
    return Condition(key, operator, value, int(found[1]) * units[found[2]])


def _one_of(text: str, known: Iterable[T]) -> T | None:
    """The one of `known` that is `text`."""
    return next((each for each in known if each == text), None)
