"""Redaction: secrets are hidden wherever they stand, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uici.engine.redact import HIDDEN, KeyLines, Redactor
from uici.model import Resource, Touch

HIDES = [
    ("DB_PASSWORD=hunter22", f"DB_PASSWORD={HIDDEN}"),
    ({"Env": ["PATH=/bin", "API_KEY=abcdef"]}, {"Env": ["PATH=/bin", f"API_KEY={HIDDEN}"]}),
    ({"password": "x"}, {"password": HIDDEN}),
    ({"db": {"auth_token": "abc"}}, {"db": {"auth_token": HIDDEN}}),
    ("postgres://me:secret@db/shop", f"postgres://{HIDDEN}@db/shop"),
    ("postgres://me:p@ss@db/shop", f"postgres://{HIDDEN}@db/shop"),
    ("Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {HIDDEN}"),
    ("> Authorization: Token abcdef123456 -", f"> Authorization: Token {HIDDEN} -"),
    ("authorization=abcdef123456", f"authorization={HIDDEN}"),
    ("< Set-Cookie: sid=abcdef; Path=/\n< x", f"< Set-Cookie: {HIDDEN}\n< x"),
    ("login ok with s3cr3t-value!", f"login ok with {HIDDEN}"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", HIDDEN),
    ('client_secret: "two words"', f"client_secret: {HIDDEN}"),
    ("PA\u017f\u017fWORD=hunter22", f"PA\u017f\u017fWORD={HIDDEN}"),
    ("BA\u017fIC abcdefghijkl", f"BA\u017fIC {HIDDEN}"),
    (
        {"env": [{"name": "A", "value": "1"}, {"name": "DB_PASSWORD", "value": "hunter22"}]},
        {"env": [{"name": "A", "value": "1"}, {"name": "DB_PASSWORD", "value": HIDDEN}]},
    ),
    ({"key": "api-token", "value": "x"}, {"key": "api-token", "value": HIDDEN}),
    (
        {"op": "add", "path": "/stringData/password", "value": "x"},
        {"op": "add", "path": "/stringData/password", "value": HIDDEN},
    ),
    (
        {"path": "containers[app].env[DB_PASSWORD].value", "before": None, "after": '"x"'},
        {"path": "containers[app].env[DB_PASSWORD].value", "before": None, "after": HIDDEN},
    ),
    ('- env[DB_PASSWORD].value: "two \\" words"\n+ b', f"- env[DB_PASSWORD].value: {HIDDEN}\n+ b"),
    ('- env[DB_PASSWORD].value: "cut off at its wid', f"- env[DB_PASSWORD].value: {HIDDEN}"),
    ({"note": '{"a":{"password":"x"}}\n'}, {"note": f'{{"a":{{"password":"{HIDDEN}"}}}}\n'}),
    (
        {"last-applied": '{"env":[{"name":"DB_PASSWORD","value":"hunter22"}],"image":"a:1"}'},
        {"last-applied": f'{{"env":[{{"name":"DB_PASSWORD","value":"{HIDDEN}"}}],"image":"a:1"}}'},
    ),
    (
        'applied: {"env":[{"name":"DB_PASSWORD","value":"hunt\\"er22"}],"ima',
        f'applied: {{"env":[{{"name":"DB_PASSWORD","value":"{HIDDEN}"}}],"ima',
    ),
    (
        r'it said "{\"env\":[{\"name\":\"DB_PASSWORD\",\"value\":\"hunter22\"}]}"',
        rf'it said "{{\"env\":[{{\"name\":\"DB_PASSWORD\",\"value\":\"{HIDDEN}\"}}]}}"',
    ),
    ("--db.password=hunter22", f"--db.password={HIDDEN}"),
    ("clé·db_password=hunter22", f"clé·db_password={HIDDEN}"),
    ("-postgres://me:secret@db/shop", f"-postgres://{HIDDEN}@db/shop"),
    (f"{'a' * 40}://me:secret@db/shop", f"{'a' * 40}://{HIDDEN}@db/shop"),
    ('[{"name":"DB_PASSWORD","value":"hunt', f'[{{"name":"DB_PASSWORD","value":"{HIDDEN}"'),
    (
        ["up", "-----BEGIN EC PRIVATE KEY-----", "MHcCAQEEIE" * 6, "AwEH==", "-----END EC PRIVATE KEY-----", "on"],
        ["up", HIDDEN, HIDDEN, HIDDEN, HIDDEN, "on"],
    ),
    (  # behind what a logger puts before it, and among what others print
        [
            "12:01 -----BEGIN PRIVATE KEY-----",
            "12:01 MIIEvQIBADANBgkqh",
            "12:01 GET /",
            "12:01 -----END PRIVATE KEY-----",
        ],
        [f"12:01 {HIDDEN}", HIDDEN, "12:01 GET /", HIDDEN],
    ),
    (["Not mine", "MHcCAQEE" * 8, "AwEH==", "-----END PRIVATE KEY-----", "on"], ["Not mine", *[HIDDEN] * 3, "on"]),
    (["redis-server", "--requirepass", "hunter22", "-v"], ["redis-server", "--requirepass", HIDDEN, "-v"]),
    ("ran: app --db-password 'two words' --token t0k -v", f"ran: app --db-password {HIDDEN} --token {HIDDEN} -v"),
    (["-----BEGIN PRIVATE KEY-----", "MHcCAQEE" * 8, "that is all"], [HIDDEN, HIDDEN, "that is all"]),
    (["first line of a known one", "its other line"], [HIDDEN, "its other line"]),
    ("[" * 1000 + '{"password":"x"}' + "]" * 1000, HIDDEN),
]


@pytest.mark.parametrize(("printed", "shown"), HIDES)
def test_hidden(printed: Any, shown: Any) -> None:
    assert Redactor(["s3cr3t-value!", "first line of a known one\nshort one\n"]).data(printed) == shown


def test_of_a_stream_too() -> None:
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    lines = ["a", begin, "MHcCAQEE" * 8, "AwEH==", "a b", end, "a", begin + " cut off", *["MHcCAQEE" * 8] * 1000]
    key = KeyLines()
    held = [key.holds(line) for line in lines]
    assert held[:9] == [False, False, True, True, False, True, False, False, True]
    assert held[9:].count(True) < 500  # whoever never ends one does not hide all that follows


@pytest.mark.parametrize(
    "line",
    [
        "a-" * 200_000 + " token x",
        "a." * 200_000 + "http://token",
        "key" * 100_000 + " :",
        " -.token" * 50_000,
        "authorization:a " * 50_000,
        'pass":"' * 50_000 + "\\",
    ],
    ids=["dashes", "dots", "keys", "flags", "headers", "quotes"],
)
def test_a_line_that_a_stranger_made_long_is_searched_once(line: str) -> None:
    """Searched anew from each of its dashes, the first of them takes hours, and the daemon's loop with it."""
    assert len(Redactor().text("{" + line)) > 0


@pytest.mark.parametrize(
    "plain",
    [
        "restarted web",
        {"state": "running", "restarts": 3},
        ["a", 1, None, True],
        "token bucket is full",
        {"password": ""},
        "Authorization: failed for user7",
        "authorization required by cookie policy",
        ["--password", "--verbose", "--token"],
        {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "A", "value": "1"},
        '{"volumes":[{"secret":{"secretName":"db"}}],  "tokens": 5}',
        'mounts {"secret":{"secretName":"db"}}',
    ],
)
def test_left_alone(plain: Any) -> None:
    assert Redactor(["s3cr3t-value!"]).data(plain) is plain


def test_what_a_resource_is_called_is_kept_and_its_labels_are_hidden() -> None:
    one = Resource(
        engine="e", kind="container", id="postgres", name="postgres", names=("postgres",), owner="name/postgres",
        labels={"tier": "postgres", "token": "x"},
    )  # fmt: skip
    redactor = Redactor(["postgres"])
    touch = Touch(resource=one, desired=1).to_json()
    shown = redactor.data({"touches": [touch], "line": "postgres"})
    assert shown["line"] == HIDDEN
    assert shown["touches"][0] == {**touch, "resource": {**one.to_json(), "labels": {"tier": HIDDEN, "token": HIDDEN}}}
    plain = one.to_json() | {"labels": {}}
    assert redactor.data(plain) is plain


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_value_never_comes_through(secret: str, before: str, after: str) -> None:
    shown = Redactor([secret]).data({"line": [before + secret + after]})["line"][0]
    assert secret not in shown.replace(HIDDEN, "\0") or secret in HIDDEN or len(secret) < 4


def test_a_short_value_does_not_blank_ordinary_text() -> None:
    assert Redactor(["a"]).text("a cat") == "a cat"
