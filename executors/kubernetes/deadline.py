"""A change tells the API server how long it may take, so that none comes true after its deadline: a gateway in between that gives up,
or a client that is gone, does not end what the server still works on (an admission webhook that hangs).

The same as kubectl's ``--request-timeout``. Nothing here waits or decides.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

#: Seconds by which the server gives up sooner than the call does, so that its own answer still comes.
_SOONER = 1.0
_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
#: What goes on for long, or is passed on to somebody who would take the word for his own.
_PASSED_ON = re.compile(r"/(proxy|exec|attach|portforward)(/|$)")


def told(method: str, url: str, seconds: Any) -> str:
    """The address with ``timeout``; as it is for looks and for what is passed on."""
    if method in _LOOKS or not isinstance(seconds, int | float) or _PASSED_ON.search(urlsplit(url).path):
        return url
    milliseconds = int(max(seconds - _SOONER, seconds / 2) * 1000)
    return f"{url}{'&' if '?' in url else '?'}timeout={milliseconds}ms"


@cache
def client_class() -> Any:
    """The client's ApiClient that does so."""
    from kubernetes.aio.client import ApiClient

    class Bounded(ApiClient):
        async def call_api(self, method: str, url: str, *words: Any, **more: Any) -> Any:
            return await super().call_api(method, told(method, url, more.get("_request_timeout")), *words, **more)

    return Bounded
