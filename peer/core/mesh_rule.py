"""Which machines of the mesh may call this peer at all, where its operator says so. Whoever may call still has to prove the key. Pure."""

import re
from typing import NamedTuple

from peer.core.mesh import Caller
from peer.errors import CallerRefusedError

RULE_TAGS_MAX = 16
CAPABILITY_CHARACTERS_MAX = 256


class MeshRule(NamedTuple):
    """What a machine has to have; nothing for whoever comes from anywhere."""

    tags: frozenset[str] = frozenset()
    """One of these."""
    capability: str = ""
    """That the policy of the mesh gives it here. With tags, both."""

    @property
    def is_set(self) -> bool:
        """Whether there is anything to be looked at."""
        return bool(self.tags or self.capability)

    def check(self, caller: Caller | None) -> None:
        """Raise `CallerRefusedError` unless this machine may call; None is somebody whom the mesh does not know."""
        if not self.is_set:
            return
        if caller is None:
            raise CallerRefusedError("it is no machine of the mesh", fix="let it come through the mesh")
        if self.tags and not self.tags & set(caller.tags):
            raise CallerRefusedError(f"{caller.name or caller.node_id} has none of the tags {', '.join(sorted(self.tags))}", fix="tag that machine")
        if self.capability and self.capability not in caller.capabilities:
            text = f"the policy of the mesh does not give {caller.name or caller.node_id} the capability {self.capability}"
            raise CallerRefusedError(text, fix="put it into a grant")


def read_tag(text: str) -> str:
    """A tag as the mesh writes it, such as `tag:recmesh`. Raises `ValueError`."""
    if not re.fullmatch(r"tag:[A-Za-z][A-Za-z0-9-]{0,60}", text):
        raise ValueError(f"{text[:80]!r} is no tag, such as tag:recmesh")
    return text


def read_capability(text: str) -> str:
    """The name of a capability, such as `example.org/cap/recmesh`; may be empty. Raises `ValueError`."""
    if len(text) > CAPABILITY_CHARACTERS_MAX or not re.fullmatch(r"[!-~]*", text):
        raise ValueError(f"{text[:80]!r} is no name of a capability, such as example.org/cap/recmesh")
    return text
