"""Logs: what can be followed of one Request, by the ``logs`` of its translation; while it runs, and after.

Its calls only observe and see nothing that came of its steps, so they can be made at any time, after a restart too. It must
not keep a line, and shows none with a secret in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable

from uici.engine.asking import observe_step
from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment
from uici.engine.feed import Feed
from uici.engine.redact import HIDDEN, KeyLines, Redactor
from uici.engine.roots import command_roots
from uici.engine.steps import Steps
from uici.engine.verdict import failed
from uici.executor import Line, Marks
from uici.model import Call, Command, Reason, Risk, UICIError

#: Seconds that one stream lasts at the most; it is opened again where it stood. And that a look for it may take.
LONGEST, LOOK = 3600.0, 30.0
#: Lines of several streams that wait to be taken.
WAITING = 64


class NoLogsError(UICIError):
    """``known``: there is such a Request, and nothing of it can be followed."""

    def __init__(self, message: str, *, known: bool) -> None:
        super().__init__(message)
        self.known = known


async def feed_of(core: Core, request: str) -> Feed:
    """The feed of a Request, shared with all who follow it already. Raises NoLogsError, and what opening its environment
    raises."""
    if (known := core.feeds.get(request)) is not None:
        return known
    execution = core.running.get(request)
    if execution is not None:
        await execution.formed.wait()  # until it is known what it will do, or it ended before
    command = execution.command if execution is not None else await core.journal.command(request)
    if command is None:
        if execution is None and await core.journal.result(request) is None:
            raise NoLogsError(f"there is no request {request[:128]!r}", known=False)
        raise NoLogsError(
            f"{request[:128]} has no logs: it ended before anything was begun, or only looked", known=True
        )
    if not command.translation.logs:
        raise NoLogsError(
            f"{command.operation.name} has no logs: its {command.translation.dialect} translation names none",
            known=True,
        )
    place = await core.environments.opened(command.environment)
    if (known := core.feeds.get(request)) is not None:
        return known  # another follower was quicker
    hidden = execution.hidden if execution is not None else frozenset()

    def streams(after: Marks, until: asyncio.Event) -> AsyncIterator[Line]:
        return _lines(core, command, place, core.environments.redactor.hiding(hidden), after, until)

    made = core.feeds[request] = Feed(streams)
    if request not in core.running:
        made.ended.set()
    return made


async def _lines(
    core: Core, command: Command, place: OpenEnvironment, redactor: Redactor, after: Marks, until: asyncio.Event
) -> AsyncIterator[Line]:
    calls = await _calls(core, command, place)
    streams = [place.executor.stream(call, after=after, until=until) for call in calls]
    keys: defaultdict[str, KeyLines] = defaultdict(KeyLines)
    async with contextlib.aclosing(streams[0] if len(streams) == 1 else _together(streams)) as lines:  # type: ignore[type-var]
        async for line in lines:
            text = HIDDEN if keys[line.source].holds(line.text) else redactor.text(line.text)
            yield line if text is line.text else Line(text=text, cursor=line.cursor, source=line.source, name=line.name)


async def _calls(core: Core, command: Command, place: OpenEnvironment) -> list[Call]:
    """The streams' calls, as things are now; raises UICIError."""
    steps = Steps(place, core.catalog.translator, command.translation.dialect, command_roots(command))
    calls: list[Call] = []
    for step in command.translation.logs:
        if not steps.wanted(step):
            continue
        if not step.stream:
            await observe_step(core, steps, step, timeout=LOOK)
            continue
        for item in steps.items(step):
            call = steps.call(step, item, LONGEST)
            if call.risk is not Risk.OBSERVE:
                raise failed(Reason.EXECUTOR, f"{call.path} does more than observe")
            calls.append(call)
    return calls


async def _together(streams: Iterable[AsyncIterator[Line]]) -> AsyncIterator[Line]:
    """Lines of several streams as they come; the first that fails ends all."""
    queue: asyncio.Queue[Line | Exception | None] = asyncio.Queue(WAITING)

    async def read(stream: AsyncIterator[Line]) -> None:
        try:
            async with contextlib.aclosing(stream) as lines:  # type: ignore[type-var]  # an async generator, typed as an iterator
                async for line in lines:
                    await queue.put(line)
            await queue.put(None)
        except Exception as error:  # noqa: BLE001 - handed to whoever reads the lines, who raises it
            await queue.put(error)

    readers = [asyncio.create_task(read(stream)) for stream in streams]
    left = len(readers)
    try:
        while left:
            found = await queue.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


__all__ = ["NoLogsError", "feed_of"]
