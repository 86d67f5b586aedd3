"""Keywords of JSON Schema that are none: one that is not known is ignored, so that a misspelt bound bounds nothing.

Pure. Own words of a writer (``x-…``, OpenAPI's) are left alone; only what must have been meant otherwise is told.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from uici.catalog.source import Trail

#: https://json-schema.org/draft/2020-12 , with those of earlier drafts that validators still read.
KNOWN = frozenset(
    """
    $schema $id $ref $anchor $dynamicRef $dynamicAnchor $vocabulary $comment $defs definitions
    type enum const title description default examples deprecated readOnly writeOnly format
    multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern
    contentEncoding contentMediaType contentSchema
    items prefixItems additionalItems contains maxContains minContains maxItems minItems uniqueItems unevaluatedItems
    properties patternProperties additionalProperties propertyNames maxProperties minProperties required
    unevaluatedProperties dependentRequired dependentSchemas dependencies
    allOf anyOf oneOf not if then else
    """.split()
)
#: OpenAPI's, which are like some of those.
_OTHERS = frozenset({"example", "nullable", "discriminator", "xml"})
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED = ("prefixItems", "allOf", "anyOf", "oneOf")
_ONE = frozenset(
    """
    items contains additionalProperties propertyNames unevaluatedItems unevaluatedProperties not if then else contentSchema
    """.split()
)


def unknown(schema: Any, at: Trail = ()) -> Iterator[tuple[Trail, str, str]]:
    """Where, what is wrong, and the cure, of each."""
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, dict):
            for name, inner in value.items():
                yield from unknown(inner, (*at, key, name))
        elif key in _LISTED and isinstance(value, list):
            for index, inner in enumerate(value):
                yield from unknown(inner, (*at, key, index))
        elif key in _ONE:
            yield from unknown(value, (*at, key))
        elif key not in KNOWN and key not in _OTHERS and not key.startswith("x-"):
            close = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.8)
            if close:
                yield (
                    (*at, key),
                    f"{key!r} is no keyword of JSON Schema, and would be ignored",
                    f"did you mean {close[0]!r}?",
                )
            elif isinstance(value, dict) and value.keys() & {"type", "enum", "$ref"}:
                message = f"{key!r} is described beside `properties`, where it is ignored"
                yield (*at, key), message, "put it under properties"
