"""The way to one cluster: where an environment's login leads, found once and kept.

A login that is read anew may be another login, never one to another cluster: ``aws eks update-kubeconfig`` and the like make
what they write the current context. Nothing here asks a server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from uici.executor import without_login
from uici.model import ConfigurationError, UnreachableError
from uici_executors.kubernetes.login import in_cluster, kubeconfigs


class Access:
    """``settings``: of the environment, secrets filled in. Shared by all that is opened for that environment. ``engine``: the
    uid of ``kube-system``, once it is known."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._context = str(settings.get("context") or "")
        self.address, self.engine = "", ""

    @property
    def where(self) -> str:
        return str(self._settings.get("kubeconfig") or "$KUBECONFIG or ~/.kube/config")

    async def configuration(self) -> Any:
        """The client's Configuration with the login as it is now. Raises ConfigurationError; UnreachableError where it
        leads to another server than before."""
        aio = await asyncio.to_thread(_imported)
        found = aio.client.Configuration()
        context = self._context
        try:
            if self._settings.get("kubeconfig") or self._settings.get("context") or not in_cluster():
                looked = kubeconfigs(self._settings.get("kubeconfig") or "")
                if not any(one.is_file() for one in looked):
                    # The client takes a file that is not there for an empty one.
                    raise OSError(f"there is no kubeconfig at {', '.join(map(str, looked))}")
                loader = await aio.config.load_kube_config(
                    config_file=self._settings.get("kubeconfig"),
                    context=context or None,
                    client_configuration=found,
                    persist_config=False,
                )
                context = str(loader.current_context["name"])
            else:
                aio.config.load_incluster_config(client_configuration=found)
        except (aio.config.ConfigException, OSError, ValueError) as error:
            raise ConfigurationError(
                f"no login to Kubernetes: {error}; see {self.where} and `settings` of the environment"
            ) from error
        address = without_login(str(found.host))
        if self.address and address != self.address:
            raise UnreachableError(
                f"the login in {self.where}{f', context {context!r},' if context else ''} leads to {address} now, and led to "
                f"{self.address} before: name the context in `settings` of the environment, or start UICI anew for the new one"
            )
        self._context, self.address = context, address
        return found


def _imported() -> Any:
    from kubernetes import aio

    return aio
