"""An output type from a JSON schema written into a spec: the part of JSON Schema that a pydantic model can hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

SCALARS: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
BOUNDS = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "minimum": "ge",
    "maximum": "le",
    "pattern": "pattern",
}
OTHERS = ("type", "properties", "required", "items", "enum", "description", "title", "default")
KNOWN = {*BOUNDS, *OTHERS, "additionalProperties", "$schema"}
MAX_DEPTH = 6


class SchemaUnsupported(ValueError):
    """The schema uses something that has no counterpart here; the text says where."""


def model_from_schema(schema: dict[str, Any], name: str = "Output") -> type[BaseModel]:
    """A strict model for an object schema. Raises: SchemaUnsupported."""
    if schema.get("type") != "object" or not schema.get("properties"):
        raise SchemaUnsupported("the schema must be of type object and have properties")
    return _object(schema, name, "", 0)


def _object(schema: dict[str, Any], name: str, where: str, depth: int) -> type[BaseModel]:
    if depth > MAX_DEPTH:
        raise SchemaUnsupported(f"{where} is nested deeper than {MAX_DEPTH} levels")
    properties = _mapping(schema.get("properties"), f"{where}.properties")
    required = set(cast("list[str]", schema.get("required", [])))
    if stray := sorted(required - properties.keys()):
        raise SchemaUnsupported(f"{where or 'the schema'} requires {', '.join(stray)}, which it has no property for")
    fields: dict[str, Any] = {}
    for key, value in properties.items():
        if not key.isidentifier() or key.startswith("_"):
            raise SchemaUnsupported(f"property {key!r} must be a plain identifier")
        inner = _mapping(value, f"{where}.{key}")
        kind = _type(inner, f"{where}.{key}".lstrip("."), depth + 1)
        fields[key] = (kind, ...) if key in required else (kind | None, inner.get("default"))
    config = ConfigDict(extra="forbid", frozen=True)
    return create_model(name, __config__=config, __doc__=schema.get("description"), **fields)


def _type(schema: dict[str, Any], where: str, depth: int) -> Any:
    if strange := sorted(schema.keys() - KNOWN):
        raise SchemaUnsupported(f"{where} uses {', '.join(strange)}; supported are {', '.join(sorted(KNOWN))}")
    if "enum" in schema:
        return _with_bounds(Literal[tuple(cast("list[Any]", schema["enum"]))], schema, bounded=False)
    kind = schema.get("type")
    if kind in SCALARS:
        return _with_bounds(SCALARS[kind], schema)
    if kind == "array":
        items = _mapping(schema.get("items"), f"{where}.items")
        inner = _type(items, f"{where}[]", depth + 1)
        return _with_bounds(list.__class_getitem__(inner), schema)
    if kind == "object" and "properties" in schema:
        return _with_bounds(_object(schema, _title(where), where, depth), schema)
    if kind == "object":
        return dict[str, Any]
    raise SchemaUnsupported(f"{where} has type {kind!r}; supported are {', '.join([*SCALARS, 'array', 'object'])}")


def _with_bounds(kind: Any, schema: dict[str, Any], *, bounded: bool = True) -> Any:
    limits = {ours: schema[theirs] for theirs, ours in BOUNDS.items() if bounded and theirs in schema}
    return Annotated[kind, Field(description=schema.get("description"), **limits)]


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaUnsupported(f"{where.lstrip('.')} must be a mapping")
    return cast("dict[str, Any]", value)


def _title(where: str) -> str:
    return "".join(part.capitalize() for part in where.replace("[]", "Item").split(".") if part)
