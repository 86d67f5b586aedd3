"""JSON Schemas (2020-12) of the catalog's files: the published ones for editors are these, printed. Data, no behaviour.

Long, because it is one table: what an editor completes, what the check refuses and what the reference prints.
``title`` of a scalar says what it must be, and stands in errors; ``description`` is what an editor shows. Every mapping of
the catalog's own takes keys that begin with ``x-``; they are the owner's.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

OWN = "^x-"
NAME = "^[a-z][a-z0-9_]{0,62}$"
AS = "^[a-z][A-Za-z0-9_]{0,62}$"
PLACE = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$"
REFERENCE = r"^\$\{(env:[A-Za-z_][A-Za-z0-9_]*|file:[^}]+)\}$"
#: No more digits than a few centuries have: what is longer could not be added to a time.
DURATION = "^(0|(?:[0-9]{1,2}y)?(?:[0-9]{1,4}w)?(?:[0-9]{1,5}d)?(?:[0-9]{1,6}h)?(?:[0-9]{1,8}m)?(?:[0-9]{1,10}s)?(?:[0-9]{1,13}ms)?)$"


def _keys(properties: dict[str, Schema], description: str = "", required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "patternProperties": {OWN: {"description": "Yours; ignored."}},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    if description:
        schema["description"] = description
    return schema


def _names(of: Schema, title: str, description: str, pattern: str = PLACE) -> Schema:
    """A mapping from names of the writer's choice; ``title``: what such a name is."""
    return {
        "type": "object",
        "title": title,
        "description": description,
        "patternProperties": {OWN: {"description": "Yours; ignored."}, pattern: of},
        "additionalProperties": False,
    }


def _text(description: str, title: str = "text", pattern: str = "", **more: Any) -> Schema:
    schema: Schema = {"type": "string", "title": title, "description": description, **more}
    if pattern:
        schema["pattern"] = pattern
    else:
        schema.setdefault("minLength", 1)
    return schema


def _condition(description: str) -> Schema:
    return _text(f"{description} Bare CEL that gives true or false.", "CEL expression")


def _duration(description: str, default: str | None = None) -> Schema:
    more = {"default": default} if default else {}
    return _text(description, "duration such as 30s, 5m or 1h30m", DURATION, minLength=1, **more)


def _span(description: str, default: str | None = None) -> Schema:
    """A duration that is not none."""
    return {
        **_duration(description, default),
        "title": "duration above 0, such as 30s",
        "not": {"type": "string", "pattern": "^0[0a-z]*$"},
    }


def _choice(description: str, *values: str, default: str | None = None) -> Schema:
    schema: Schema = {"enum": list(values), "description": description}
    return {**schema, "default": default} if default else schema


def _flag(description: str, default: bool = False) -> Schema:
    return {"type": "boolean", "description": description, "default": default}


def _list(of: Schema, description: str, **more: Any) -> Schema:
    return {"type": "array", "items": of, "description": description, **more}


def _number(description: str, minimum: int, **more: Any) -> Schema:
    return {"type": "integer", "minimum": minimum, "description": description, **more}


def _free(description: str) -> Schema:
    return {"type": "object", "description": description}


RISKS = ("observe", "change", "destroy")
_OPERATION = _text("Name of an operation of operations.yml.", "operation's name (verb_noun)", NAME)
_PARAMETERS = _free("Its parameters; text may hold ${expressions}. Without `namespace` the target's is used.")
_ASK = _keys({"operation": _OPERATION, "parameters": _PARAMETERS}, required=("operation",))
_MATCHERS = _list(_text('One Alertmanager matcher, such as alertname=~".+Down".', "matcher"), "All must match.")
_LABELS = {
    "type": "object",
    "description": "Labels and their values.",
    "additionalProperties": {"type": "string", "title": "text"},
}

OPERATIONS = _names(
    _keys(
        {
            "summary": _text("One sentence for people, LLM tools and MCP."),
            "risk": _choice("The most that it may do; never less than the riskiest call of its translations.", *RISKS),
            "target": _keys(
                {
                    "parameter": _text("The parameter that names the target."),
                    "namespace": _text("The parameter that gives its namespace."),
                    "kind": _text("The kind that is asked for.", default="service"),
                    "new": _flag(
                        "The operation makes it: it is not looked for, but locked and remembered by its name."
                    ),
                },
                "What it is done to. Locks, brakes, guards and history use what is located.",
                ("parameter",),
            ),
            "idempotent": _flag("May be done again when it is known not to have happened."),
            "timeout": _span("Of the calls; not of approval or verification.", "60s"),
            "parameters": {
                "type": "object",
                "description": "JSON Schema 2020-12 of its parameters, given unchanged to LLM tools and MCP.",
                "properties": {"type": {"const": "object"}},
                "required": ["type"],
            },
            "returns": _free("JSON Schema of the answer, the same from every environment."),
            "before": _ASK | {"description": "An observe operation, read and journaled right before the first change."},
            "took_effect": _condition("Did it happen? Sees `before` and `answer`: the same operation, asked again."),
            "verify": _keys(
                {
                    "operation": _OPERATION,
                    "parameters": _PARAMETERS,
                    "expect": _condition("It helped."),
                    "fail": _condition("It did not, and waiting is of no use."),
                    "within": _duration("How long to wait for it.", "60s"),
                    "every": _span("How often to ask.", "1s"),
                    "stable_for": _duration("How long it must keep holding.", "0s"),
                    "answers": _flag("Its last answer is this operation's answer too."),
                    "steady": _text("What must not change meanwhile, such as ${answer.restarts}."),
                },
                "An observe operation, asked until the expectation holds.",
                ("operation", "expect"),
            ),
            "undo": _ASK | {"description": "What takes it back when it did not help. Sees `before` and `answer`."},
        },
        "What may be asked.",
        ("summary", "risk", "parameters"),
    ),
    "operation's name (verb_noun, such as restart_service)",
    "Operations by name.",
    NAME,
)

_TOUCHES: Schema = {
    "type": ["array", "string"],
    "title": "list of resources, or elsewhere",
    "pattern": "^elsewhere$",
    "description": "What it touches, where the executor cannot tell: resources, or `elsewhere`.",
    "items": _keys(
        {
            "kind": _text("Kind, as the engine calls it."),
            "name": _text("Exact name."),
            "id": _text("Id."),
            "namespace": _text("Namespace."),
        }
    ),
}

STEP = _keys(
    {
        "call": _text(
            "A path in the SDK's own words; its first name is an earlier `as`, or an attribute of the SDK's client.",
            "dotted path of a call, such as containers.get",
            r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        ),
        "with": _free("The call's arguments by name."),
        "as": _text("What later steps call its answer.", "name that begins with a small letter", AS),
        "when": _condition("Only then."),
        "each": {
            "type": ["string", "array"],
            "description": "A list to repeat over, such as ${containers}; each element is `item`.",
        },
        "continue": _flag("With `each`: go on after one failed."),
        "until": _condition("Ask again until this holds; observe calls only. Sees this call's own `as`."),
        "within": _duration("How long `until` or `retry` may go on."),
        "every": _span("How often `until` or `retry` asks.", "1s"),
        "unless": _condition("The effect is already there: leave the call out."),
        "accept": _list(_text("Name of an SDK error."), "SDK errors that mean the same as success."),
        "retry": _list(_text("Name of an SDK error."), "SDK errors that mean not yet."),
        "stream": _flag("Lines, with a cursor."),
        "touches": _TOUCHES,
    },
    "One SDK call.",
    ("call",),
)

TRANSLATION = _keys(
    {
        "steps": _list(STEP, "The calls, in order.", minItems=1),
        "returns": {"description": "Template of the operation's answer."},
        "confirm": _list(STEP, "Calls made once verification passed."),
        "revert": _list(STEP, "This executor's undo, used before the operation's."),
        "cancel": _list(STEP, "Calls made when the request is cancelled or times out."),
        "logs": _list(
            STEP,
            "What can be followed of it while it runs and after: calls that only observe; the lines of those with `stream: true`. "
            "They see no answers but their own.",
        ),
        "verify_within": _duration(
            "How long verification may take on this engine, in place of the operation's `within`."
        ),
        "same_as": _text("Another dialect of this operation, whose translation is used."),
    },
    "How one dialect says one operation: `steps`, or `same_as`.",
)

TRANSLATIONS = _names(
    _names(TRANSLATION, "dialect's name", "Translations by dialect."),
    "operation's name",
    "Translations by operation.",
    NAME,
)

ENVIRONMENT = _keys(
    {
        "executor": _text("The plugin that knows its SDK: docker, supervisor, …"),
        "dialect": _text("Which translations it takes; the executor's own name by default."),
        "settings": _free("The executor's settings. Secrets as ${env:NAME} or ${file:PATH}."),
        "alerts": _MATCHERS | {"description": "Which alerts are about this place; missing: every alert."},
        "stage": _choice("How much hangs on it.", "sandbox", "staging", "production", default="sandbox"),
        "autonomy": _choice("The most that may be done without a person.", "none", *RISKS, default="observe"),
        "operations": _list(
            _text("A name or a pattern; ! leaves out.", "operation's name or pattern", r"^!?[a-z0-9_*?\[\]!-]+$"),
            "Which operations are offered; the last that matches decides. Default: all that the dialect translates.",
        ),
        "namespaces": _list(_text("A name or a pattern."), "Nothing outside of these is ever a target."),
        "managed": _choice("Fields that Argo CD, Flux or an HPA manages.", "refuse", "override", default="refuse"),
        "dry_run": _flag("Shadow mode: plan and record, touch nothing."),
        "variables": _free("Values for expressions: environment.variables. No secrets."),
        "inventory": _keys(
            {
                "from": _OPERATION | {"description": "An observe operation that lists services."},
                "only": _choice("Nothing else may be a target.", "listed"),
                "services": _names(
                    _keys(
                        {
                            "id": _text("The engine's id."),
                            "labels": _LABELS,
                            "depends_on": _list(_text("A service's name."), "What it needs."),
                            "probe": _text("URL that tells whether it is healthy."),
                        }
                    ),
                    "service's name",
                    "What the engine does not tell of its services.",
                    "^[^\\x00-\\x1f]{1,253}$",
                ),
            },
            "What is there; adds to what the engine tells.",
        ),
    },
    "One place where operations run.",
    ("executor",),
)

ENVIRONMENTS = _names(ENVIRONMENT, "environment's name", "Environments by name.")

RUNBOOK = _keys(
    {
        "name": _text("Its name.", "runbook's name", PLACE),
        "match": _MATCHERS | {"description": "Which alerts; all must match. Missing: every alert."},
        "target": _list(
            _text("A label's name.", "label's name", "^[a-zA-Z_][a-zA-Z0-9_]*$"),
            "Labels; the first that is there and locates something names the target.",
        ),
        "kind": _text("The kind of thing that those labels name, as the engine calls it.", default="service"),
        "only_if": _keys(
            {"operation": _OPERATION, "parameters": _PARAMETERS, "expect": _condition("The trouble is there.")},
            "What must be seen before anything is changed.",
            ("operation", "expect"),
        ),
        "steps": _list(
            _keys(
                {
                    "operation": _OPERATION,
                    "parameters": _PARAMETERS,
                    "as": _text("What later steps call its Result.", "name that begins with a small letter", AS),
                    "when": _condition("Only then."),
                },
                "One operation to ask for.",
                ("operation",),
            ),
            "What to try, in order, until one change is verified.",
        ),
        "enabled": _flag("Whether it is used.", True),
    },
    "What an alert leads to.",
    ("name",),
)

PROTECTED = _keys(
    {
        "environment": _text("Name or pattern.", default="*"),
        "name": _text("Name, id or pattern."),
        "kind": _text("Kind."),
        "namespace": _text("Namespace or pattern: all that lies in it."),
        "labels": _LABELS,
    },
    "What nobody may touch.",
)
BLAST_RADIUS = _keys(
    {
        "min_risk": _choice("From which risk on.", *RISKS, default="change"),
        "of": _choice("What is counted.", "replicas"),
        "at_most": _text("Share of the desired replicas.", "share such as 34%", "^(100|[0-9]{1,2})%$"),
        "always_allow": _number("Replicas that a change may touch in any case.", 0, default=0),
    },
    "Healthy replicas made unavailable at one time.",
    ("at_most",),
)
BRAKE = _keys(
    {
        "name": _text("Its name.", "brake's name", PLACE),
        "min_risk": _choice("From which risk on.", *RISKS, default="change"),
        "per": _list(_choice("What is counted apart.", "environment", "target", "operation"), "Counted for each."),
        "at_most": _number("Attempts.", 1),
        "within": _span("In how long."),
        "then": _choice("What happens.", "escalate", default="escalate"),
    },
    "Stops what does not help.",
    ("name", "per", "at_most", "within"),
)
RULE = _keys(
    {
        "name": _text("Its name.", "rule's name", PLACE),
        "when": _condition("Whom it is about."),
        "effect": _choice("What it does.", "allow", "require_approval", "deny"),
        "count": _number("How many people must approve.", 1, default=1),
        "self": _flag("Whether the person who asked may approve."),
        "expires": _span("How long an approval is waited for.", "30m"),
    },
    "First match wins.",
    ("name", "when", "effect"),
)

_RIGHTS = ("alerts", "observe", "operate", "approve", "metrics")
PLATFORM: dict[str, Schema] = {
    "journal": _keys(
        {
            "url": _text("sqlite:////absolute/path, or postgresql://…; default: the state directory."),
            "keep": _span("How long ended matters are kept.", "90d"),
        },
        "Where everything is written down.",
    ),
    "server": _keys(
        {
            "listen": _text(
                "Address and port.", "address such as 127.0.0.1:8080", r"^(\[[0-9A-Fa-f:.]+\]|[^:\s]*):[0-9]{1,5}$"
            ),
            "tokens": _names(
                _keys(
                    {
                        "token": _text(
                            "A reference, never the token itself.",
                            "reference such as ${env:TOKEN} or ${file:/run/secrets/token}",
                            REFERENCE,
                        ),
                        "may": _list(_choice("A right.", *_RIGHTS), "What it may do.", minItems=1),
                        "person": _flag("Whether a person holds it."),
                    },
                    required=("token", "may"),
                ),
                "token's name",
                "Who may come in by the network.",
            ),
            "limits": _keys(
                {
                    "body": _text("Largest body.", "size such as 512KiB or 1MiB", "^[0-9]{1,12}(B|KiB|MiB|GiB)?$"),
                    "alerts_per_post": _number("Most alerts of one post.", 1, default=1000),
                    "waiting": _number("Most alerts that wait.", 1, default=10000),
                },
                "Bounds; each has its answer.",
            ),
        },
        "The daemon's doors.",
    ),
    "worker": _keys(
        {
            "incidents_at_once": _number("Incidents worked on at one time.", 1, default=32),
            "settle": _span("How long a verified change may wait for its alerts to go.", "15m"),
        },
        "How incidents are worked on.",
    ),
    "monitoring": _keys({"prometheus": _text("Its URL.")}, "Gives an alert's expression and fresh samples."),
    "escalate_to": _list(_text("An apprise URL, or a reference."), "Whom to tell."),
    "depends_on": _list(
        _keys(
            {
                "kind": _text("Kind, as the engine calls it."),
                "name": _text("Exact name."),
                "id": _text("Id."),
                "namespace": _text("Namespace."),
                "environment": _text("The environment where it is."),
            }
        ),
        "What UICI needs and no SDK can tell; it is guarded like UICI itself.",
    ),
}

#: The catalog's files and their sections. A section is a mapping (of names), or a list.
FILES: dict[str, dict[str, Schema]] = {
    "platform": PLATFORM,
    "environments": {
        "default": _text("An environment's name, or auto: the one whose executor detects itself."),
        "environments": ENVIRONMENTS,
    },
    "operations": {"operations": OPERATIONS},
    "command_translations": {"translations": TRANSLATIONS},
    "runbooks": {"runbooks": _list(RUNBOOK, "The first that matches is used.")},
    "policies": {
        "protected": _list(PROTECTED, "What nobody may touch."),
        "blast_radius": _list(BLAST_RADIUS, "How much may go at one time."),
        "brakes": _list(BRAKE, "When to stop trying."),
        "rules": _list(RULE, "Who needs whose approval."),
    },
}
SUMMARIES = {
    "platform": "UICI itself: journal, server, worker, whom to tell.",
    "environments": "The places where operations run.",
    "operations": "What may be asked.",
    "command_translations": "How each executor says it.",
    "runbooks": "What an alert leads to.",
    "policies": "What is protected, and where the limits are.",
}


def schema(name: str) -> Schema:
    """The JSON Schema of one file (``operations``); raises KeyError."""
    version: Schema = {"const": 1, "description": "Version of this format."}
    include = _list(_text("starter, or an installed plugin's name."), "Catalogs whose entries are added to these.")
    made = _keys({"version": version, "include": include, **FILES[name]}, SUMMARIES[name], ("version",))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:uici:schema:{name}:1",
        "title": f"UICI {name}.yml",
        **made,
    }


def without_owners(data: Any, schema: Schema) -> None:
    """Removes the ``x-`` keys where they are the owner's, in place."""
    if isinstance(data, dict):
        patterns = schema.get("patternProperties", {})
        if OWN in patterns:
            for key in [key for key in data if key.startswith("x-")]:
                del data[key]
        named = next((one for pattern, one in patterns.items() if pattern != OWN), None)
        properties = schema.get("properties", {})
        for key, value in data.items():
            inner = properties.get(key, named)
            if inner:
                without_owners(value, inner)
    elif isinstance(data, list) and "items" in schema:
        for value in data:
            without_owners(value, schema["items"])
