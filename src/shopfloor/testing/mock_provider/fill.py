"""The smallest value that fits a JSON schema, so that a scenario can answer tools it doesn't know."""

from __future__ import annotations

import re
from typing import Any, cast

Json = dict[str, Any]

DEEPEST = 12  # a schema may name itself without end
CANDIDATES = (
    "Answered by the mock provider.",
    "mock",
    "Mock",
    "m",
    "1",
    "1.0.0",
    "m-1",
    "src/mock.py",
    "#1",
    "2026-01-05",
)
FORMATS = {
    "date": "2026-01-05",
    "date-time": "2026-01-05T09:00:00Z",
    "email": "mock@example.invalid",
    "uri": "https://example.invalid/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Json) -> Any:
    """A value for `schema`: required properties only, first choices, lower bounds. Source: JSON Schema 2020-12."""
    return _example(schema, schema, 0)


def _example(schema: Json, root: Json, depth: int) -> Any:
    schema = _resolved(schema, root)
    if depth > DEEPEST:
        return None
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for listed in ("enum", "examples"):
        if schema.get(listed):
            return schema[listed][0]
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _example(choices[0], root, depth + 1)
    if schema.get("allOf"):
        schema = {key: value for part in schema["allOf"] for key, value in _resolved(part, root).items()}
    return _of_kind(_kind(schema), schema, root, depth)


def _of_kind(kind: str, schema: Json, root: Json, depth: int) -> Any:
    match kind:
        case "object":
            properties = cast("dict[str, Json]", schema.get("properties") or {})
            needed = cast("list[str]", schema.get("required") or [])
            return {name: _example(properties.get(name, {}), root, depth + 1) for name in needed}
        case "array":
            item = cast("Json", schema.get("items") or {})
            return [_example(item, root, depth + 1) for _ in range(int(schema.get("minItems", 0)))]
        case "integer" | "number":
            low = schema.get("minimum", int(schema.get("exclusiveMinimum", -1)) + 1)
            return min(low, schema.get("maximum", low))
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return _text(schema)


def _text(schema: Json) -> str:
    """The first candidate that fits pattern and lengths. A pattern that none fits gets a plain word, which fails."""
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 1_000))
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    pattern = schema.get("pattern")
    if not isinstance(pattern, str):
        return CANDIDATES[0][:most].ljust(least, ".")
    for candidate in CANDIDATES:
        if least <= len(candidate) <= most and re.search(pattern, candidate):
            return candidate
    return CANDIDATES[1]


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = cast("list[str]", kind)
        return kinds[0]
    return str(kind or ("object" if "properties" in schema else "string"))


def _resolved(schema: Json, root: Json) -> Json:
    """`$ref` inside the same document followed."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found: Any = root
    for step in reference[2:].split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return cast("Json", found)
