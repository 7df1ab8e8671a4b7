"""Manifests read back, of any version and in either form: what was CBOR gives the same JSON again, what was JSON the same CBOR and id."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from materializer.fields import TIME_MAX_NS
from materializer.manifest import Manifest, to_json
from materializer.manifest_schema import check_document
from peer.core.encoding import decode, encode
from peer.core.hashing import hash_bytes
from peer.errors import ManifestInvalidError, NotCanonicalError

MANIFEST_BYTES_MAX = 256 * 1024 * 1024
BYTES_KEYS = frozenset({"group", "recording", "site", "blob_id", "sha256", "schema_hash"})
"""Fields whose values are bytes, in hex where they stand in JSON."""
FIX = "take the one that recmesh wrote"


def read_manifest(data: bytes) -> Manifest:
    """The manifest in `data`, CBOR or JSON, the latter with its fields in any order. Raises `ManifestInvalidError`."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise ManifestInvalidError(f"a manifest of more than {MANIFEST_BYTES_MAX} bytes", fix=FIX)
    return _from_json(data) if data.lstrip()[:1] == b"{" else _from_cbor(data)


def _from_cbor(data: bytes) -> Manifest:
    try:
        fields = decode(data)
    except NotCanonicalError as error:
        raise ManifestInvalidError(f"this is no manifest: neither JSON nor {error}", fix=FIX) from error
    document = to_json(fields)
    check_document(document)
    assert isinstance(fields, dict), "so it was checked"
    if _made_of(document).fields != fields:
        raise ManifestInvalidError("this is no manifest: text where there should be bytes or a number, or the other way round", fix=FIX)
    return Manifest(fields, data, hash_bytes(data))


def _from_json(data: bytes) -> Manifest:
    try:
        document = json.loads(data.decode(), object_pairs_hook=_no_key_twice, parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalidError(f"this is no manifest: {str(error)[:200]}", fix=FIX) from error
    check_document(document)
    return _made_of(document)


def _made_of(document: Any) -> Manifest:  # noqa: ANN401  (JSON that was checked)
    try:
        fields = _typed(document)
        cbor = encode(fields)
    except ValueError as error:  # A time, or text, that no manifest holds.
        raise ManifestInvalidError(f"this is no manifest: {error}", fix=FIX) from error
    return Manifest(fields, cbor, hash_bytes(cbor))


def _typed(value: Any, key: str = "") -> Any:  # noqa: ANN401  (what JSON holds, as CBOR holds it)
    """The opposite of `to_json`, for what has the fields of a manifest. Raises `ValueError`."""
    if isinstance(value, dict):
        return {name: _typed(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, str) and key in BYTES_KEYS:
        return bytes.fromhex(value)
    if isinstance(value, str) and key.endswith("_ns"):
        if int(value) > TIME_MAX_NS:
            raise ValueError("a time after the year 2262")
        return int(value)
    return value


def _no_key_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field that stands there twice")
    return fields


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is no whole number")
