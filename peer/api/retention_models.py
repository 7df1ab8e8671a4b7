"""What travels over the admin API about how long recordings are kept."""

from typing import Literal

from pydantic import Field, model_validator

from peer.api.editing_models import HoldShown, NsDigits, Person, RetentionShown
from peer.api.models import Answer, Request

REASON_MAX = 4096


class RetentionChange(Request):
    """A hold, that one is lifted, or how long to keep a recording: one of `hold` and `class`. `default` is what the group says."""

    hold: bool | None = None
    class_: Literal["transient", "raw", "summary", "reference", "permanent", "default"] | None = Field(default=None, alias="class")
    until_ns: NsDigits | None = Field(default=None, description="Unix time in ns, as a decimal string; left out for as long as the class says")
    reason: str = Field(default="", max_length=REASON_MAX, description="Needed for all but lifting a hold")
    person: Person = ""

    @model_validator(mode="after")
    def _check(self) -> "RetentionChange":
        if (self.hold is None) == (self.class_ is None):
            raise ValueError("either `hold` or `class` is needed")
        if self.until_ns is not None and self.class_ is None:
            raise ValueError("`until_ns` goes with `class`")
        if self.hold is not False and not self.reason.strip():
            raise ValueError("a reason is needed")
        return self


class Keeping(Answer):
    """What keeps a recording."""

    hold: HoldShown | None
    retention: RetentionShown
