"""Locks: one command at a time for one target, no deadlock, and one stuck target delays nobody else."""

from __future__ import annotations

import asyncio
import random

import pytest

from uici.engine.locks import Locks


async def test_the_same_key_waits_and_another_does_not() -> None:
    locks, order = Locks(), []
    release = asyncio.Event()

    async def first() -> None:
        async with locks.hold("e", frozenset({"web"}), 5):
            order.append("first in")
            await release.wait()
            order.append("first out")

    async def second() -> None:
        async with locks.hold("e", frozenset({"web"}), 5):
            order.append("second in")

    one = asyncio.create_task(first())
    await asyncio.sleep(0)
    two = asyncio.create_task(second())
    async with locks.hold("e", frozenset({"db"}), 5):
        order.append("other in")
    async with locks.hold("another engine", frozenset({"web"}), 5):
        order.append("other engine in")
    release.set()
    await asyncio.gather(one, two)
    assert order == ["first in", "other in", "other engine in", "first out", "second in"]


async def test_the_whole_engine_excludes_every_key_and_delays_nobody_while_it_waits() -> None:
    locks, order = Locks(), []
    gate = asyncio.Event()

    async def use(name: str, keys: frozenset[str] | None) -> None:
        async with locks.hold("e", keys, 5):
            order.append(name)
            await gate.wait()

    tasks = [asyncio.create_task(use("web", frozenset({"web"})))]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(use("all", None)))
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(use("db", frozenset({"db"}))))
    await asyncio.sleep(0)
    assert order == ["web", "db"], "the one that wants all waits and holds up nobody"
    gate.set()
    await asyncio.gather(*tasks)
    assert order == ["web", "db", "all"]


async def test_a_wait_has_a_limit_and_leaves_nothing_behind() -> None:
    locks = Locks()
    async with locks.hold("e", frozenset({"web"}), 1):
        with pytest.raises(TimeoutError):
            async with locks.hold("e", frozenset({"web"}), 0):
                pass
    async with locks.hold("e", frozenset({"web"}), 0):
        pass


async def test_more_keys_are_taken_at_once_or_after_letting_go() -> None:
    locks = Locks()
    async with locks.hold("e", frozenset({"web"}), 1) as hold:
        assert await locks.extend(hold, frozenset({"web", "net"}), 1)
        assert hold.keys == {"web", "net"}
        busy = asyncio.Event()

        async def other() -> None:
            async with locks.hold("e", frozenset({"db"}), 1):
                await busy.wait()

        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        extending = asyncio.create_task(locks.extend(hold, frozenset({"db"}), 5))
        await asyncio.sleep(0)
        async with locks.hold("e", frozenset({"web"}), 1):
            pass  # it waits holding none
        busy.set()
        assert await extending is False, "what was read before is stale"
        assert hold.keys == {"web", "net", "db"}
        await task


async def test_many_holds_of_many_keys_never_deadlock() -> None:
    locks, source = Locks(), random.Random(7)
    inside: set[str] = set()

    async def use() -> None:
        keys = frozenset(source.sample("abcdef", source.randint(1, 3)))
        async with locks.hold("e", keys, 30) as hold:
            assert not inside & keys
            inside.update(keys)
            await asyncio.sleep(0)
            inside.difference_update(keys)
            await locks.extend(hold, frozenset(source.sample("abcdef", 2)), 30)
            assert hold.keys is not None
            assert not inside & hold.keys

    async with asyncio.timeout(30):
        await asyncio.gather(*(use() for _ in range(300)))


async def test_a_waiter_that_is_cancelled_gives_way() -> None:
    locks = Locks()
    async with locks.hold("e", frozenset({"web"}), 1):
        waiting = asyncio.create_task(_use(locks))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with locks.hold("e", frozenset({"web"}), 0):
        pass


async def _use(locks: Locks) -> None:
    async with locks.hold("e", frozenset({"web"}), 10):
        raise AssertionError("it was cancelled before")


async def test_in_the_middle_of_a_command_nobody_comes_between_while_it_waits_for_more() -> None:
    locks, order = Locks(), []
    busy = asyncio.Event()

    async def other(key: str) -> None:
        async with locks.hold("e", frozenset({key}), 5):
            order.append(key)
            await busy.wait()

    async with locks.hold("e", frozenset({"web"}), 1) as hold:
        holding = asyncio.create_task(other("db"))
        await asyncio.sleep(0)
        wanting = asyncio.create_task(other("web"))
        extending = asyncio.create_task(locks.extend(hold, frozenset({"db"}), 5, keep=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["db"]
        busy.set()
        assert await extending is False
        assert hold.keys == {"web", "db"}
        assert order == ["db"], "web was never let go"
    await asyncio.gather(holding, wanting)
    assert order == ["db", "web"]


async def test_two_that_wait_for_each_other_in_the_middle_end_by_the_limit_of_one() -> None:
    locks = Locks()
    async with locks.hold("e", frozenset({"a"}), 1) as one, locks.hold("e", frozenset({"b"}), 1) as two:
        waiting = asyncio.create_task(locks.extend(one, frozenset({"b"}), 30, keep=True))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await locks.extend(two, frozenset({"a"}), 0, keep=True)
        assert two.keys == {"b"}
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert one.keys == {"a"}
    async with locks.hold("e", None, 0):
        pass
