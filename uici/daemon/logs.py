"""Structured logs: one JSON object a line on stderr, or coloured text where a person watches.

Records of libraries (aiohttp, asyncio) come out in the same form. Nothing here decides; tokens and secrets never reach
a logger.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, cast

import orjson

from uici.daemon.imports import without_rich

with without_rich():
    import structlog
    import structlog.stdlib


def _json(_: Any, __: str, event: structlog.types.EventDict) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure(*, form: str = "auto", level: int = logging.INFO) -> None:
    """``form``: ``json``, ``text``, or ``auto``: text where stderr is a terminal."""
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    colors = text and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.ExceptionRenderer() if not text else structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=colors, timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
        )
        if text
        else _json
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def logger() -> structlog.typing.FilteringBoundLogger:
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger())
