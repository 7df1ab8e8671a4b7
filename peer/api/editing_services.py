"""What the admin API asks of what is said: of recordings, of machines."""

from collections.abc import Mapping, Sequence
from typing import Protocol

Json = dict[str, object]
PlainValue = str | int | bool
SettingValue = PlainValue | list[str]


class EditingService(Protocol):
    """What is said about recordings."""

    async def remove(self, reference: str) -> Json:
        """Delete one everywhere."""
        ...

    async def restore(self, reference: str) -> Json:
        """Take a deletion back."""
        ...

    async def set(self, reference: str, properties: Mapping[str, PlainValue], *, revision: str | None = None) -> Json:
        """Change properties of one, if it has still this revision."""
        ...

    async def tag(self, reference: str, add: Sequence[str], remove: Sequence[str]) -> Json:
        """Set tags of one, and take others away."""
        ...

    async def annotate(self, reference: str, order: Json) -> Json:
        """Say something about one; the members of `order` are those of the request."""
        ...

    async def annotations(self, reference: str) -> list[Json]:
        """What was said about one."""
        ...

    async def annotation(self, reference: str) -> Json:
        """An annotation, by its id."""
        ...

    async def change_annotation(self, reference: str, order: Json) -> Json:
        """Let an annotation say something else; `order` has what is to change."""
        ...

    async def unannotate(self, reference: str) -> Json:
        """Take an annotation back."""
        ...

    async def review(self, reference: str, value: int | str, *, person: str = "", annotation: str | None = None) -> Json:
        """Say what a person thinks of one, or of an annotation of it."""
        ...


class MachineService(Protocol):
    """Machines, as recordings name them."""

    async def all(self, group: str | None = None) -> list[Json]:
        """All of them, or those of one group."""
        ...

    async def show(self, machine: str, group: str | None = None) -> list[Json]:
        """What each group says of one."""
        ...

    async def set(self, machine: str, key: str, value: PlainValue, group: str | None = None) -> Json:
        """Say something about one."""
        ...
