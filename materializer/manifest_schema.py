"""What a manifest looks like as JSON, in each of its versions: pydantic models, of which the published schema is made."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from materializer.fields import INDEX_MAX
from peer.core.finding import SUM_MAX
from peer.errors import ManifestInvalidError

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="32 bytes as lowercase hexadecimal digits")]
Ns = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,18})$", description="Nanoseconds of Unix time, as a decimal string: JSON numbers hold 53 bits")]
Count = Annotated[int, Field(ge=0, le=SUM_MAX)]


class Part(BaseModel):
    """A map with exactly these fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Provenance(Part):
    """Who added the recording with what, from where; empty where that is not known."""

    tool: str
    version: str
    host: str
    source_path: str
    operator: str


class Embedded(Part):
    """Something in a chunk file that is no message."""

    kind: Literal["metadata", "attachment"]
    name: str
    media_type: str
    size_bytes: Count


class FirstChunk(Part):
    """A chunk file of the recording; its name is that in the folder of the recording, the source name that at its site."""

    index: Annotated[int, Field(ge=0, le=INDEX_MAX)]
    name: str
    source_name: str
    blob_id: Annotated[Hash, Field(description="BLAKE3 of its bytes")]
    sha256: Hash
    size_bytes: Count
    message_count: Count
    start_time_ns: Ns | None
    end_time_ns: Ns | None


class Chunk(FirstChunk):
    """A chunk file, as manifests tell of it since their second version."""

    library: str = Field(description="What wrote the file")
    dropped_message_count: Count | None = Field(description="Null where its recorder does not say")
    embedded: list[Embedded]


class Attachment(Part):
    """A file of the recording that is no chunk."""

    name: str
    source_name: str
    blob_id: Hash
    sha256: Hash
    size_bytes: Count


class FirstTopic(Part):
    """A topic with one schema and encoding; the schema is empty where there is none."""

    topic: str
    schema_: str = Field(alias="schema")
    schema_encoding: str
    encoding: str = Field(description="Of its messages")
    message_count: Count


class Channel(FirstTopic):
    """A topic, as manifests tell of it since their second version."""

    schema_hash: Hash | None = Field(description="BLAKE3 of the schema's data; null where there is none, or it is not known")


class Common(Part):
    """What manifests of all versions say."""

    group: Hash
    recording: Hash
    name: str
    site: Hash
    machine: str
    created_ns: Ns
    profile: str = Field(description="Of the recorder, such as ros2")
    attachments: list[Attachment]
    message_count: Count
    size_bytes: Count
    start_time_ns: Ns | None
    end_time_ns: Ns | None


class FirstManifest(Common):
    """A manifest of version 1."""

    version: Literal[1]
    chunks: list[FirstChunk]
    topics: list[FirstTopic]
    dropped_message_count: None


class SecondManifest(Common):
    """A manifest of version 2."""

    version: Literal[2]
    provenance: Provenance
    chunks: list[Chunk]
    channels: list[Channel]
    dropped_message_count: Count | None = Field(description="Of all chunks together; null unless each of them says")


_MANIFEST: TypeAdapter[FirstManifest | SecondManifest] = TypeAdapter(Annotated[FirstManifest | SecondManifest, Field(discriminator="version")])


def check_document(document: object) -> None:
    """Raise `ManifestInvalidError` unless `document` is the JSON of a manifest, of any version that is known here."""
    try:
        _MANIFEST.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "it"
        raise ManifestInvalidError(f"this is no manifest: {where[:200]}: {first['msg'][:200]}", fix="take the one that recmesh wrote") from error


def json_schema() -> str:
    """The published schema."""
    schema = {"$schema": SCHEMA_DIALECT, "title": "Manifest of a recording, versions 1 and 2", **_MANIFEST.json_schema()}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
