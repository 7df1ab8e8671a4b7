"""What is known of a mesh."""

import pytest

from peer.core.mesh import is_mesh_address


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("100.64.0.0", True),
        ("100.127.255.255", True),
        ("100.63.255.255", False),
        ("100.128.0.0", False),
        ("100.115.92.0", False),
        ("100.115.93.255", False),
        ("100.115.91.255", True),
        ("100.115.94.0", True),
        ("100.100.100.100", False),
        ("::ffff:100.64.0.7", True),
        ("::ffff:192.0.2.7", False),
        ("fd7a:115c:a1e0::7", True),
        ("fd7a:115c:a1e0::53", False),
        ("fd7a:115c:a1e0:b1a::1", False),
        ("fd7a:115c:a1e1::7", False),
        ("fd7a:115c:a1e0::7%eth0", True),
        ("field.mesh.example", False),
        ("", False),
    ],
)
def test_addresses_of_a_mesh_are_two_ranges_without_what_others_use_of_them(address: str, is_one: bool) -> None:  # noqa: FBT001  (a case)
    assert is_mesh_address(address) is is_one
