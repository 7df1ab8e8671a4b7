"""What an attacker would send to the decoder. Each case is decided within a time and memory that have nothing to do with what it claims."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from peer.core.encoding import DEPTH_MAX, decode, decode_shallow
from peer.errors import NotCanonicalError

SECONDS_MAX = 0.5
ROOT = Path(__file__).parents[3]


def shared(count: int, width: int) -> bytes:
    """`count` shared arrays of `width` references to the one before: width to the power of count values, in a few hundred bytes."""
    item = b"\xd8\x1c\x98" + bytes([width])
    return bytes([0x80 + count]) + item + b"\0" * width + b"".join(item + (b"\xd8\x1d" + bytes([before])) * width for before in range(count - 1))


def repeated_text(size: int, count: int) -> bytes:
    """One text and `count` references to it."""
    return b"\xd9\x01\x00\x99" + (count + 1).to_bytes(2, "big") + b"\x59" + size.to_bytes(2, "big") + b"a" * size + b"\xd8\x19\x00" * count


HOSTILE = {
    "no bytes": b"",
    "arrays nested deeper than the limit": b"\x81" * (DEPTH_MAX + 1) + b"\x00",
    "a hundred thousand nested arrays": b"\x81" * 100_000 + b"\x00",
    "fifty thousand nested maps": b"\xa1\x61a" * 50_000 + b"\x00",
    "a hundred thousand nested tags": b"\xc1" * 100_000 + b"\x00",
    "bytes of 2^64-1": bytes.fromhex("5bffffffffffffffff"),
    "bytes of 16 TiB": bytes.fromhex("5b00000fffffffffff"),
    "bytes of 4 GiB": bytes.fromhex("5affffffff"),
    "text of 128 TiB": bytes.fromhex("7b00007fffffffffff"),
    "an array of 2^64-1": bytes.fromhex("9bffffffffffffffff"),
    "an array of 2^31-1": bytes.fromhex("9a7fffffff"),
    "an array of 68 billion, a hundred of them there": bytes.fromhex("9b0000000fffffffff") + bytes(100),
    "a map of 68 billion": bytes.fromhex("bb0000000fffffffff"),
    "an array that contains itself": bytes.fromhex("d81c81d81d00"),
    "a set that contains itself": bytes.fromhex("d81cd9010281d81d00"),
    "a shared value": bytes.fromhex("82d81c80d81d00"),
    "shared arrays that unfold to 60^8 values": shared(8, 60),
    "a text repeated by reference to 160 MB": repeated_text(0x4000, 10_000),
    "integer keys of one hash": bytes.fromhex("a2 01 00 1b2000000000000000 00"),
    "a bignum": bytes.fromhex("c24a") + b"\xff" * 10,
    "a bignum of a megabyte": bytes.fromhex("c25a00100000") + b"\xff" * 2**20,
    "a small number as a bignum": bytes.fromhex("c24101"),
    "a decimal with a huge exponent": bytes.fromhex("c4821b7fffffffffffffff01"),
    "a bigfloat with a huge exponent": bytes.fromhex("c5821a0fffffff01"),
    "a fraction over zero": bytes.fromhex("d81e820100"),
    "a regular expression": bytes.fromhex("d8236128"),
    "an expression that backtracks": b"\xd8\x23\x74" + b"(a*)*" * 4,
    "a mail": bytes.fromhex("d8246161"),
    "a date far away": bytes.fromhex("c11bffffffffffffffff"),
    "a date of infinity": bytes.fromhex("c1fb7ff0000000000000"),
    "a set": bytes.fromhex("d901028100"),
    "an unknown tag": bytes.fromhex("da00ffffff00"),
    "a half float": bytes.fromhex("f93c00"),
    "a double": bytes.fromhex("fb3ff199999999999a"),
    "not a number": bytes.fromhex("f97e00"),
    "not a number, with a payload": bytes.fromhex("fb7ff8000000000001"),
    "undefined": b"\xf7",
    "a simple value": b"\xe0",
    "true in two bytes": bytes.fromhex("f815"),
    "a break": b"\xff",
    "an array without length": bytes.fromhex("9fff"),
    "bytes without length": bytes.fromhex("5f4100ff"),
    "a map without length": bytes.fromhex("bfff"),
    "duplicate keys": bytes.fromhex("a2616100616100"),
    "unsorted keys": bytes.fromhex("a2616200616100"),
    "keys sorted by their bytes alone": bytes.fromhex("a262616100616200"),
    "a key of bytes": bytes.fromhex("a1410000"),
    "a key of two types": bytes.fromhex("a2610000410000"),
    "a key that is an array": bytes.fromhex("a18000"),
    "a key that is a map": bytes.fromhex("a1a000"),
    "an integer in more bytes than needed": bytes.fromhex("1817"),
    "a length in more bytes than needed": bytes.fromhex("580161"),
    "a trailing byte": bytes.fromhex("0000"),
    "text that is no UTF-8": bytes.fromhex("61ff"),
    "half a surrogate pair": bytes.fromhex("63eda080"),
    "a reserved length": bytes.fromhex("1c"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_bytes_are_refused_in_no_time(what: str) -> None:
    started = time.perf_counter()

    with pytest.raises(NotCanonicalError):
        decode(HOSTILE[what])

    assert time.perf_counter() - started < SECONDS_MAX


@pytest.mark.parametrize("what", HOSTILE)
def test_the_decoder_for_headers_raises_nothing_else_either(what: str) -> None:
    started = time.perf_counter()
    with contextlib.suppress(NotCanonicalError):
        decode_shallow(HOSTILE[what])
    assert time.perf_counter() - started < SECONDS_MAX


def test_hostile_bytes_take_no_memory() -> None:
    """In a process of its own that may have 400 MB: an allocation that fails inside the library would end it, not raise."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20,) * 2)\n"
        "from peer.core.encoding import decode\n"
        "from peer.errors import NotCanonicalError\n"
        "for line in sys.stdin:\n"
        "    try: decode(bytes.fromhex(line))\n"
        "    except NotCanonicalError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(data.hex() or " " for data in HOSTILE.values()),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )

    assert done.stdout.splitlines() == ["refused"] * len(HOSTILE), done.stderr[-500:]


def test_values_may_be_nested_up_to_the_limit() -> None:
    assert decode(b"\x81" * DEPTH_MAX + b"\x00")


def test_the_limit_of_depth_may_be_lowered() -> None:
    with pytest.raises(NotCanonicalError):
        decode(b"\x81\x81\x00", depth_max=1)


def test_a_key_longer_than_another_comes_after_it_whatever_its_letters() -> None:
    assert decode(bytes.fromhex("a261620062616100")) == {"b": 0, "aa": 0}


def test_true_and_one_stay_apart() -> None:
    assert decode(b"\x01") is not True
    assert decode(b"\xf5") is True
