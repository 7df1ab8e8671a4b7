"""A group, a member that is attacked, and a puppet that finished a real handshake with it."""

import pytest

from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, puppet


@pytest.fixture
def group() -> SampleGroup:
    return SampleGroup("alice", "bob", "carol", "mallory")


@pytest.fixture
def bob(group: SampleGroup) -> Site:
    return Site("bob", Clock(), group)


@pytest.fixture
def end(bob: Site) -> LinkEnd:
    """Bob's end of a link to Mallory, a member."""
    return puppet("mallory", bob)
