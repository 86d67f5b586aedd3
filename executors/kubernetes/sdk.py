"""What the Kubernetes client can be asked: paths, arguments, bodies, answers, and what right each needs.

A path is ``AppsV1Api.patch_namespaced_deployment``: a class of ``kubernetes.client`` and its method, with the method's
own arguments but for those that begin with ``_`` (and ``async_req``). Read from the installed client's source (see
``source``), one method at a time; nothing is imported and nothing is sent.

**What a body is sent as.** The client picks the first ``application/json-patch+json`` that a method offers and, where
the body is no list, turns it into ``application/strategic-merge-patch+json`` right before it sends (in ``rest.py``, both
flavours). For custom objects, which know no strategic merge, it offers ``application/merge-patch+json`` alone, and would
send a list as that, which the server refuses. Server-side apply (``application/apply-patch+yaml``) is offered by the
client but never sent here, so ``force`` has no meaning. ``content_type`` says what is sent; the run half gives it as
``_content_type``: a list is a JSON Patch always, a mapping is a strategic merge where the method offers that, else a
merge patch.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from uici_executors.kubernetes import source, words
from uici_executors.kubernetes.source import ANY, Type

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC, JSON = "application/strategic-merge-patch+json", "application/json"

#: Of bodies that are custom objects: apiVersion, kind and metadata are known, all else is free.
CUSTOM = "CustomObject"
_PARAMETER = re.compile(r"^        ([a-z]\w*): (.*),$", re.MULTILINE)
_DESCRIBED = re.compile(r"Annotated\[(.*?), Field\(")
_REQUEST = re.compile(r"method='([A-Z]+)',\s*resource_path='([^']*)'")
_OFFERED = re.compile(r"'(application/[^']*patch[^']*)'")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "HEAD": "get", "DELETE": "delete"}
#: Of the client's exceptions: the answers that prove that nothing was done.
_REJECTIONS = (
    "OpenApiException ApiException BadRequestException UnauthorizedException ForbiddenException NotFoundException "
    "ConflictException UnprocessableEntityException"
)
#: ``reason`` of the API server's Status, for answers below 500. The client has no class for an eviction's 429.
_REASONS = (
    "AlreadyExists BadRequest Conflict Expired Forbidden Gone Invalid MethodNotAllowed NotAcceptable NotFound "
    "RequestEntityTooLarge TooManyRequests Unauthorized UnsupportedMediaType"
)
#: Known, and of no use: what such an answer did is never known.
DOUBTFUL = frozenset("ServiceException InternalError ServerTimeout ServiceUnavailable Timeout".split())


@dataclass(frozen=True, slots=True)
class Parameter:
    required: bool
    type: Type = ANY


@dataclass(frozen=True, slots=True)
class Method:
    """One thing that the client can be asked.

    ``body``: the model of what is sent (``CUSTOM`` for custom objects), None: nothing is; of a patch it is the model of
    the object that is patched. ``answer``: a model, ``str``, or None for plain data. ``http``, ``url``: the request
    (``/apis/apps/v1/namespaces/{namespace}/deployments/{name}``). ``offered``: content types of a patch. ``verb`` to
    ``namespaced``: of the right it needs (``update`` for a PUT); ``resource`` is empty for what is no resource
    (``/version/``), and ``{plural}`` for custom objects, like ``{group}`` and ``{version}``.
    """

    path: str
    parameters: Mapping[str, Parameter]
    body: str | None
    answer: str | None
    http: str
    url: str
    offered: tuple[str, ...]
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespaced: bool = False

    @property
    def api(self) -> str:
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        return self.path.partition(".")[2]

    @property
    def kind(self) -> str:
        """The resource in lower case, with its subresource: ``deployments``, ``pods/exec``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


#: The executor's own words, for what the client has none.
WORDS: Mapping[str, Method] = {
    **{
        path: Method(
            path=path,
            parameters={name: Parameter(needed, Type(frozenset({kind}))) for name, (needed, kind) in takes.items()},
            body=None,
            answer=None,
            http="",
            url="",
            offered=(),
            verb="",
        )
        for path, takes in words.ARGUMENTS.items()
    },
    # As ``kubectl logs --follow --selector``; a stream alone. ``name_label``: a label of the Pods; its value names a source.
    "pods.logs": Method(
        path="pods.logs",
        parameters={
            "namespace": Parameter(True, Type(frozenset({"string"}))),
            "label_selector": Parameter(True, Type(frozenset({"string"}))),
            "container": Parameter(False, Type(frozenset({"string"}))),
            "name_label": Parameter(False, Type(frozenset({"string"}))),
            "since_seconds": Parameter(False, Type(frozenset({"integer"}))),
            "tail_lines": Parameter(False, Type(frozenset({"integer"}))),
        },
        body=None,
        answer=None,
        http="GET",
        url="/api/v1/namespaces/{namespace}/pods/{name}/log",
        offered=(),
        verb="get",
        version="v1",
        resource="pods",
        subresource="log",
        namespaced=True,
    ),
}


@cache
def find(path: str) -> Method | None:
    """None where the installed client has no such method. Raises ImportError where no client is installed."""
    if path in WORDS:
        return WORDS[path]
    api, _, name = path.partition(".")
    if not re.fullmatch(r"[a-z]\w*", name, re.ASCII) or not source.known(api, "api"):
        return None
    text = source.text(api)
    begin = text.find(b"\n    def %b(\n" % name.encode())
    sending = text.find(b"\n    def _%b_serialize(\n" % name.encode())
    if begin < 0 or sending < 0:  # ``…_with_http_info`` and ``…_without_preload_content`` have no request of their own
        return None
    head = text[begin : text.find(b":\n", text.find(b"\n    ) -> ", begin))].decode()
    request = text[sending : text.find(b"\n        return ", sending) + 300].decode(errors="replace")
    found = _REQUEST.search(request)
    if found is None:
        return None
    parameters = {key: _parameter(of) for key, of in _PARAMETER.findall(head) if key != "async_req"}
    http, url = found[1], found[2]
    answer = source.type_of(head.rpartition(") -> ")[2])
    return Method(
        path=path,
        parameters=parameters,
        body=_body(parameters, answer, url),
        answer=answer.model or ("str" if answer.kinds == {"string"} else None),
        http=http,
        url=url,
        offered=tuple(_OFFERED.findall(request)) if http == "PATCH" else (),
        **_right(http, url),
    )


def _parameter(of: str) -> Parameter:
    """Of one line of a signature: ``Annotated[Optional[StrictStr], Field(…)] = None``."""
    described = _DESCRIBED.match(of)
    annotation = described[1] if described else of.partition(" = ")[0]
    return Parameter(not of.endswith(" = None"), source.type_of(annotation))


def _body(parameters: Mapping[str, Parameter], answer: Type, url: str) -> str | None:
    body = parameters.get("body")
    if body is None:
        return None
    if url.startswith("/apis/{group}") and body.type.model is None:
        return "V1Scale" if url.endswith("/scale") else CUSTOM
    return body.type.model or answer.model or CUSTOM


def _right(http: str, url: str) -> dict[str, Any]:
    """What a URL of the API says of the right that it needs."""
    parts = url.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return {"verb": _VERBS.get(http, "*")}
    version = parts[1] if parts[0] == "api" else parts[2]
    namespaced = rest[:2] == ["namespaces", "{namespace}"]
    rest = rest[2:] if namespaced else rest
    named = len(rest) > 1
    verb = _VERBS.get(http, "*")  # of OPTIONS: no verb but all of them covers it
    if not named:
        verb = {"GET": "list", "DELETE": "deletecollection"}.get(http, verb)
    subresource = rest[2] if len(rest) > 2 else ""
    return {
        "verb": verb,
        "group": group,
        "version": version,
        "resource": rest[0],
        "subresource": subresource,
        "namespaced": namespaced,
    }


def content_type(method: str, body: Any) -> str:
    """What a body is sent as; for ``_content_type``. ``method``: its name, with or without its class. Anything but a list
    counts as a mapping."""
    name = method.rpartition(".")[2]
    if not name.startswith("patch_"):
        return JSON
    if isinstance(body, Sequence) and not isinstance(body, str | bytes):
        return JSON_PATCH
    return MERGE_PATCH if "custom_object" in name else STRATEGIC


def names(api: str) -> list[str]:
    """All that a class can be asked; for a suggestion. Empty: there is no such class."""
    if not source.known(api, "api"):
        return []
    found = re.findall(rb"^    def _(\w+)_serialize\($", source.text(api), re.MULTILINE)
    return sorted(one.decode() for one in found)


def classes() -> list[str]:
    return sorted(source.names("api"))


def did_you_mean(word: str, among: Sequence[str]) -> str:
    """A hint, or the choice where it is short; empty where neither would help."""
    close = difflib.get_close_matches(word, among, 1, 0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(among)}" if 0 < len(among) <= 20 else ""


@cache
def errors() -> frozenset[str]:
    """Names that ``accept`` and ``retry`` may use: the client's exceptions and the server's reasons below 500."""
    return frozenset((*_REJECTIONS.split(), *_REASONS.split()))
