"""`/openapi.json`: every route that is served, made from the list of routes and the models."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from peer.api.models import Problem
from peer.api.problems import PROBLEM_TYPE
from peer.api.routes import JSON_TYPE, Query, Route
from peer.core.access import Tier

TIER_FIELD = "x-tier"
"""Where an operation says which tier it needs."""

REFERENCE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{([a-z]+)}")


def describe(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The OpenAPI document of `routes`."""
    models: set[type[BaseModel]] = {Problem}
    for route in routes:
        models.update(model for model in (_model(route.answer), route.request) if model is not None)
    ordered = sorted(models, key=lambda model: model.__name__)
    references, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template=REFERENCE)
    names = {model: reference for (model, _), reference in references.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "recmesh admin API", "version": version},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"problem": {"description": "What went wrong", "content": {PROBLEM_TYPE: {"schema": names[Problem]}}}},
        },
    }


def _operation(route: Route, names: dict[Any, Any]) -> dict[str, Any]:
    path_parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": "An id, the start of one, or a unique name"}
        for name in _PARAMETER.findall(route.path)
    ]
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": "Needs no token." if route.needed is Tier.ANYONE else f"Needs a token of the tier {route.needed.label} or higher.",
        TIER_FIELD: route.needed.label,
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z0-9]+', '_', route.path.lower())}".rstrip("_"),
        "parameters": [*path_parameters, *(_query(query) for query in route.query)],
        "responses": {str(route.status): _answer(route, names), "default": {"$ref": "#/components/responses/problem"}},
    }
    if route.request is not None:
        required = any(field.is_required() for field in route.request.model_fields.values())
        operation["requestBody"] = {"required": required, "content": {JSON_TYPE: {"schema": names[route.request]}}}
    if route.needed is Tier.ANYONE:
        operation["security"] = []
    return operation


def _answer(route: Route, names: dict[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {each: {} for each in route.content}
    model = _model(route.answer)
    if model is not None and JSON_TYPE in content:
        schema = names[model]
        content[JSON_TYPE] = {"schema": {"type": "array", "items": schema} if isinstance(route.answer, tuple) else schema}
    return {"description": route.summary, "content": content}


def _query(query: Query) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": query.type}
    if query.repeated:
        schema = {"type": "array", "items": schema}
    return {"name": query.name, "in": "query", "required": False, "schema": schema, "description": query.description}


def _model(answer: type[BaseModel] | tuple[type[BaseModel]] | None) -> type[BaseModel] | None:
    return answer[0] if isinstance(answer, tuple) else answer
