"""Every cross-check of a catalog, in order, without an engine. Each says what it proves; none changes anything.

An entry in which an error was found already is not checked further, but counts as being there.
"""

from __future__ import annotations

from uici.catalog import (
    check_given,
    check_operations,
    check_places,
    check_runbooks,
    check_translations,
    check_variables,
)
from uici.catalog.gather import Gathered
from uici.catalog.scope import Scope


def check(gathered: Gathered, *, used_only: bool) -> None:
    """Notes every problem that the files have in themselves and with each other.

    ``used_only``: translations of included dialects that no environment uses are left out, so that a start does not
    import their SDKs.
    """
    scope = Scope(gathered, used_only=used_only)
    check_operations.schemas(scope)
    check_operations.expressions(scope)
    check_places.environments(scope)
    check_places.platform(scope)
    check_translations.translations(scope)
    check_runbooks.runbooks(scope)
    check_runbooks.policies(scope)
    check_variables.variables(scope)
    check_given.given(scope)
    check_places.offered(scope)
