"""OpenAPI 3.1 of the route table. It adds nothing that the table does not say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uici import __version__
from uici.daemon.problem import MEDIA_TYPE
from uici.daemon.routes import SEGMENT, Route
from uici.daemon.schemas import COMPONENTS, named

_SAYS = {
    200: "As asked.",
    202: "Accepted; it runs. `Location` is where its Result will be.",
    400: "Not JSON, or not readable.",
    401: "No token, or one that is not known.",
    403: "The token lacks the right, or is not a person's.",
    404: "There is no such thing.",
    409: "Not in this state.",
    413: "Too large; the rest was not read.",
    415: "Not sent as `application/json`.",
    422: "The wrong shape; `errors` has the path of each field.",
    503: "Not able to now: saturated, starting, stopping, or the journal failed. Try again.",
}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "UICI",
            "version": __version__,
            "description": "Safe hands for whoever decides. Errors are problem+json (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {},
    }
    if route.may:
        rights = " or ".join(f"`{right}`" for right in sorted(route.may))
        said["description"] = f"Needs {rights}{', of a person' if route.person else ''}."
        # An empty requirement: without tokens, and at the local socket, none is needed.
        said["security"] = [{"token": []}, {}]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{SEGMENT}$"}}
        for name in route.parameters
    ]
    parameters += [{"name": name, "in": "query", "schema": dict(schema)} for name, schema in route.query.items()]
    if parameters:
        said["parameters"] = parameters
    problems = set(route.problems)
    if route.may:
        problems |= {401, 403}
    if route.query:
        problems.add(422)
    if route.body is not None:
        said["requestBody"] = {
            # Of an object that has to have nothing the body may be missing too.
            "required": route.body.get("type") != "object" or bool(route.body.get("required")),
            "content": {"application/json": {"schema": dict(route.body)}},
        }
        problems |= {400, 413, 415, 422}
    if route.parameters:
        problems.add(404)
    problems.add(503)
    for status, schema in route.answers.items():
        content = {route.media: {"schema": dict(schema)} if schema is not None else {}}
        said["responses"][str(status)] = {"description": _SAYS.get(status, "An answer."), "content": content}
        if status == 202:
            said["responses"]["202"]["headers"] = {"Location": {"schema": {"type": "string"}}}
    for status in sorted(problems):
        entry = {"description": _SAYS[status], "content": {MEDIA_TYPE: {"schema": named("Problem")}}}
        if str(status) in said["responses"]:
            said["responses"][str(status)]["content"].update(entry["content"])
        else:
            said["responses"][str(status)] = entry
    return said
