"""Errors as ``application/problem+json`` (RFC 9457). Every refusal of a network door leaves through here.

It must not show a traceback, a secret or a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from uici.model import UICIError

MEDIA_TYPE = "application/problem+json"

_TITLES = {
    400: "Bad request",
    401: "Authentication needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Wrong shape",
    500: "Internal error",
    503: "Not able to now",
}


class ProblemError(UICIError):
    """What a door answers instead. ``code``: short and stable, counted in ``/metrics``; ``detail``: place, problem, cure.

    ``errors``: of a wrong shape, each ``{"path", "message"}``. ``close``: the connection ends with this answer, because
    the rest of the body will not be read.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers, self.close = tuple(errors), dict(headers or {}), close

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "type": f"urn:uici:problem:{self.code}",
            "title": _TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            data["errors"] = [dict(one) for one in self.errors]
        return data

    def response(self) -> web.Response:
        response = web.Response(
            status=self.status, body=orjson.dumps(self.to_json()), content_type=MEDIA_TYPE, headers=self.headers
        )
        if self.close:
            response.force_close()
        return response


def unavailable(code: str, detail: str, seconds: int = 1) -> ProblemError:
    """503, which Alertmanager retries at once (it drops an alert at 429 until the next group interval)."""
    return ProblemError(503, code, detail, headers={"Retry-After": str(seconds)})


def wrong_shape(path: str, message: str) -> ProblemError:
    return ProblemError(422, "schema", f"{path}: {message}", errors=[{"path": path, "message": message}])
