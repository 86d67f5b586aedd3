"""The daemon's API behind the words of the command line. It decides nothing and opens no journal."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import click

from uici.cli.client import Client, LostError, RefusedError, segment
from uici.model.errors import DaemonError, UICIError
from uici.model.request import Request

Progress = Callable[[Mapping[str, Any]], None]
JSON = Any
#: Seconds after its end in which the last lines of a request may still come.
LAST_LINES = 60.0


class InDoubtError(DaemonError):
    """Whether the request is done cannot be told."""

    exit_code = 6


class Remote:
    """By the daemon's API."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def operations(self) -> list[JSON]:
        listed: list[JSON] = self.client.get("api/v1/operations", having="operations")["operations"]
        return listed

    def operation(self, name: str) -> JSON | None:
        return next((one for one in self.operations() if one["name"] == name), None)

    def environments(self) -> list[JSON]:
        listed: list[JSON] = self.client.get("api/v1/environments", having="environments")["environments"]
        return listed

    def permissions(self, environment: str) -> JSON:
        with _named("environment", environment):
            return self.client.get(f"api/v1/environments/{segment(environment)}/permissions", having="missing")

    def incidents(self, states: Sequence[str], limit: int) -> list[JSON]:
        query = {"state": ",".join(states) or None, "limit": limit}
        listed: list[JSON] = self.client.get("api/v1/incidents", having="incidents", **query)["incidents"]
        return listed

    def incident(self, id: str) -> JSON:
        with _named("incident", id):
            return self.client.get(f"api/v1/incidents/{segment(id)}", having="entries")

    def ask(self, request: Request, progress: Progress, lines: Progress | None = None) -> JSON:
        """``lines``: is told each line of its logs, in a thread, until they are all out. Raises InDoubtError where the
        daemon went away before it said how the request ended."""
        with _held() as interrupted:
            try:
                said = self.client.post("api/v1/requests", request.to_json(), having="id")
            except RefusedError as error:
                error.exit_code = 2 if error.status in (400, 413, 415, 422) else 1  # what was asked for is invalid
                raise
            except LostError as error:
                raise InDoubtError(f"{error}; it may have taken the request, so look before you ask again") from error
        id, shown = str(said["id"]), None
        where_it_is = f"api/v1/requests/{segment(id)}"
        following = threading.Thread(target=self._follow, args=(id, lines), daemon=True)
        if lines is not None:
            following.start()
        cancelled = False
        while True:
            try:
                try:
                    if interrupted and not cancelled:
                        raise KeyboardInterrupt
                    for seen in later(said.get("evidence", ()), shown):
                        progress(seen)
                        shown = seen
                    if said["status"] != "running":
                        if lines is not None:
                            following.join(LAST_LINES)
                        return said
                    said = self.client.get(where_it_is, having="status", wait="1s")
                except KeyboardInterrupt:
                    if cancelled:
                        click.echo(f"the daemon goes on with the request {id}, which it was asked to cancel", err=True)
                        raise
                    cancelled = True
                    progress({"kind": "cancel", "name": "cancel", "verdict": "asked for; waiting for its end"})
                    self._cancel(where_it_is)
            except RefusedError:
                raise
            except DaemonError as error:
                raise InDoubtError(
                    f"{error}; it has taken the request {id}, and how that ended is not known here: once the daemon runs "
                    f"again, GET /{where_it_is} tells"
                ) from error

    def _cancel(self, where_it_is: str) -> None:
        try:
            self.client.post(f"{where_it_is}/cancel")
        except RefusedError as error:
            if error.status not in (404, 409):  # it has ended, and how is asked next
                raise

    def _follow(self, id: str, lines: Progress) -> None:
        # What cannot be followed is told by `uici logs`; here it keeps nobody from the result.
        with contextlib.suppress(DaemonError, OSError):
            for event in self.client.lines(id, follow=True):
                if event["event"] != "end":
                    lines(event)

    def logs(self, id: str, follow: bool, lines: Progress) -> JSON:
        with _named("request", id):
            for event in self.client.lines(id, follow=follow):
                if event["event"] == "end":
                    return event
                lines(event)
        raise DaemonError(f"the daemon at {self.client.name} went away")

    def plan(self, payload: Any) -> list[JSON]:
        listed: list[JSON] = self.client.post("api/v1/plan", payload, having="plans")["plans"]
        return listed

    def cancel(self, id: str) -> JSON:
        with _named("request", id):
            return self.client.post(f"api/v1/requests/{segment(id)}/cancel", having="cancelled")

    def pause(self, environment: str | None) -> JSON:
        return self.client.post("api/v1/pause", {"environment": environment}, having="paused")

    def resume(self, environment: str | None) -> JSON:
        return self.client.post("api/v1/resume", {"environment": environment}, having="resumed")

    def reopen(self, incident: str) -> JSON:
        with _named("incident", incident):
            return self.client.post(f"api/v1/incidents/{segment(incident)}/reopen", having="reopened")


_LISTED = {
    "incident": "`uici incidents` lists them",
    "environment": "`uici environments` lists them",
    "request": "`uici run` and `uici incidents ID` show a request's id",
}


@contextlib.contextmanager
def _named(what: str, id: str) -> Iterator[None]:
    """What the daemon does not know is told in the command line's words, not in the API's."""
    try:
        yield
    except RefusedError as error:
        if error.status != 404:
            raise
        raise unknown(what, id) from None


def unknown(what: str, id: str) -> UICIError:
    return UICIError(f"there is no {what} {id!r} in this journal; {_LISTED[what]}")


@contextlib.contextmanager
def _held() -> Iterator[list[int]]:
    """The first Ctrl-C waits, and is given: only the daemon's answer tells what it is to cancel. A second one does not."""
    seen: list[int] = []

    def heard(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, heard)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def later(evidence: Sequence[Mapping[str, Any]], shown: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """What came after the piece that was shown last. Not by number: of a long request the middle is left out."""
    for number in range(len(evidence) - 1, -1, -1):
        if evidence[number] == shown:
            return list(evidence[number + 1 :])
    return list(evidence)
