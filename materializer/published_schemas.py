"""The schemas of all events as one JSON document: `python -m materializer.published_schemas` prints it, with bytes as hexadecimal digits."""

import json
import sys
from typing import Any

from pydantic.json_schema import models_json_schema

from materializer.control_schemas import CONTROL_SCHEMAS
from materializer.schemas import SCHEMAS


def json_schemas() -> dict[str, Any]:
    """The JSON schema of all types: `types` says which definition each has, in which version, and in which kind of log it stands."""
    models = {**SCHEMAS, **CONTROL_SCHEMAS}
    _, document = models_json_schema([(model, "validation") for model in models.values()], title="Bodies of the events of recmesh")
    types = {
        type_: {"$ref": f"#/$defs/{model.__name__}", "version": model.version, "log": "control" if type_ in CONTROL_SCHEMAS else "data"}
        for type_, model in models.items()
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "types": types, **document}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schemas(), indent=2, sort_keys=True) + "\n")
