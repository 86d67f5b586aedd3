"""Where an engine listens, by the settings of its environment, as docker-py reads them. Nothing is connected here."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import certifi
import docker.utils

from uici.executor import Settings
from uici.executor.wire import Address


def address_of(settings: Settings) -> Address:
    """Raises ValueError for an address that is none, docker-py's DockerException, and OSError for a certificate."""
    base_url, tls = str(settings["base_url"]), settings.get("tls")
    if base_url.startswith("unix://"):
        return Address(host="docker", socket=base_url.removeprefix("unix://"))
    parts = urlsplit(str(docker.utils.parse_host(base_url, tls=bool(tls))).rstrip("/"))
    if not parts.hostname:
        raise ValueError("no host")
    secure = parts.scheme == "https"
    return Address(
        host=parts.netloc,
        name=parts.hostname,
        port=parts.port or (443 if secure else 80),
        prefix=parts.path,
        tls=_context(tls or {}) if secure else None,
    )


def _context(tls: Mapping[str, Any]) -> ssl.SSLContext:
    """As docker-py has it: the given authority's word alone, else what requests believes."""
    context = ssl.create_default_context(cafile=tls.get("ca_cert") or certifi.where())
    if "client_cert" in tls:
        context.load_cert_chain(tls["client_cert"], tls["client_key"])
    if not tls.get("verify", True):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
