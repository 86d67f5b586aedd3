"""What the catalog's check makes of the arguments of a translation, for cases written as data."""

from __future__ import annotations

from typing import Any

import yaml


def schema_of(template: Any) -> dict[str, Any]:
    """A text ``${…}`` holds, in YAML's flow style, the JSON Schema of what its expression gives; ``each`` as in a catalog."""
    if isinstance(template, str) and template.startswith("${"):
        return dict(yaml.safe_load(template[1:]))
    if isinstance(template, dict) and "each" in template:
        return {"type": "array", "items": schema_of(template["item"])}
    if isinstance(template, dict):
        properties = {key: schema_of(value) for key, value in template.items()}
        return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    if isinstance(template, list):
        items = [schema_of(value) for value in template]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return {"const": template}
