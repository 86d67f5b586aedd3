"""An executor whose engine is a JSON file: faults that no real engine gives on demand, and a memory that outlives SIGKILL.

Installed like any third party's plugin (a dist-info folder with the entry point). The file holds the services, a script of
faults (``{"call", "then"}``, each used once, in order) and a log of every effect, so that a test can count them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from uici.executor import (
    Changed,
    Checked,
    CheckProblem,
    Diff,
    Done,
    Facts,
    Health,
    Identity,
    JSONSchema,
    Line,
    Marks,
    Outcome,
    Permission,
    Rejected,
    Settings,
    StepToCheck,
    Target,
    Unknown,
)
from uici.model import Call, Environment, Pinned, Resource, Risk, Touch, UnreachableError

CALLS: dict[str, tuple[Risk, str | None, tuple[str, ...]]] = {
    "services.get": (Risk.OBSERVE, "Service", ("name",)),
    "services.list": (Risk.OBSERVE, "list[Service]", ()),
    "services.create": (Risk.CHANGE, "Service", ("name", "image", "of")),
    "services.run": (Risk.CHANGE, None, ("command",)),
    "Service.restart": (Risk.CHANGE, None, ("grace_seconds",)),
    "Service.set": (Risk.CHANGE, None, ("field", "value")),
    "Service.remove": (Risk.DESTROY, None, ()),
    "Service.logs": (Risk.OBSERVE, None, ()),
}


class World:
    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def write(self, world: dict[str, Any]) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(world))
        new.replace(self.path)


class RehearsalExecutor:
    settings: ClassVar[JSONSchema] = {
        "type": "object",
        "properties": {"world": {"type": "string"}, "password": {"type": "string"}},
    }
    dialects: ClassVar[tuple[str, ...]] = ("rehearsal",)

    def __init__(self) -> None:
        self.world = World(os.devnull)

    def detect(self) -> Settings | None:
        return None

    def check(self, step: StepToCheck) -> Checked:
        if step.path not in CALLS:
            return Checked(problems=(CheckProblem(code="unknown_call", message=f"there is no {step.path}"),))
        risk, answer, takes = CALLS[step.path]
        problems = tuple(
            CheckProblem(code="unknown_argument", message=f"{step.path} takes no {name}", argument=name)
            for name in step.arguments
            if name not in takes
        )
        return Checked(problems=problems, risk=risk, answer=answer)

    def risk(self, pinned: Pinned) -> Risk:
        known = CALLS.get(pinned.call.path)
        if known is None:
            return Risk.DESTROY
        # Scaling to none is more than the path tells, as on a real engine.
        arguments = pinned.call.arguments
        if pinned.call.path == "Service.set" and arguments.get("field") == "replicas" and arguments.get("value") == 0:
            return Risk.DESTROY
        return known[0]

    async def open(self, environment: Environment) -> None:
        self.world = World(environment.settings["world"])
        self._ask()

    async def close(self) -> None:
        pass

    def _ask(self) -> dict[str, Any]:
        world = self.world.read()
        if world.get("down"):
            raise UnreachableError("the rehearsal's engine is down; set down to false")
        return world

    async def engine_id(self) -> str:
        return str(self._ask().get("engine", "rehearsal"))

    async def locate(self, target: Target) -> list[Resource]:
        world = self._ask()
        return [
            self._resource(world, name)
            for name, one in world["services"].items()
            if target.name in (name, one["id"]) and target.namespace in (None, one.get("namespace"))
        ]

    def _resource(self, world: dict[str, Any], name: str) -> Resource:
        one = world["services"][name]
        return Resource(
            engine=str(world.get("engine", "rehearsal")),
            kind="service",
            id=one["id"],
            name=name,
            namespace=one.get("namespace"),
            names=(name, one["id"]),
            labels=one.get("labels", {}),
            owner=f"name/{one.get('of', name)}",
        )

    async def identity(self, facts: Facts) -> Identity:
        world = self._ask()
        if world.get("identity") == "unknown":
            return Identity(unknown="the rehearsal does not tell")
        own = [name for name in world.get("self", []) if name in world["services"]]
        return Identity(resources=tuple(self._resource(world, name) for name in own), shows="the rehearsal says so")

    async def resolve(self, call: Call) -> Pinned:
        world = self._ask()
        if call.path == "services.run":
            return Pinned(call=call, unknown="a command can do anything")
        if call.on is None:
            return Pinned(call=call)
        one = world["services"].get(call.on.name)
        if one is None:
            return Pinned(call=call, touches=(Touch(resource=call.on),))
        healthy = one["replicas"] if one["state"] == "running" else 0
        takes = healthy if call.path in ("Service.restart", "Service.remove") else 0
        team = [one]
        if "of" in one:
            team = [each for each in world["services"].values() if each.get("of") == one["of"] and "aside" not in each]
        touch = Touch(
            resource=self._resource(world, call.on.name),
            healthy=sum(each["replicas"] for each in team if each["state"] == "running"),
            desired=sum(each["replicas"] for each in team),
            takes=takes,
            managed_by=one.get("managed_by"),
        )
        more = tuple(Touch(resource=self._resource(world, name)) for name in one.get("also_touches", ()))
        return Pinned(call=call, touches=(touch, *more))

    async def preview(self, call: Call) -> Diff | None:
        return None

    async def run(self, call: Call) -> Outcome:
        world = self._ask()
        name = call.on.name if call.on else None
        fault = next((one for one in world["script"] if one["call"] == call.path and one.get("on", name) == name), None)
        if fault is not None:
            world["script"].remove(fault)
            for changed, fields in fault.get("meanwhile", {}).items():
                world["services"][changed].update(fields)
            self.world.write(world)
        then = fault["then"] if fault else "done"
        if then == "rejected":
            return Rejected(errors=("Conflict", "EngineError"), message="the engine will not", reason="conflict")
        if then == "stale":
            return Rejected(errors=("Conflict",), message="it was changed meanwhile", reason="conflict", stale=True)
        if then == "raises":
            raise RuntimeError("an error that the executor did not list")
        if then == "unknown_before":
            return Unknown(message="the connection broke")
        answer = self._do(call)
        if then == "unknown_after":
            return Unknown(message="the connection broke")
        if then == "down_after":
            world = self.world.read()
            world["down"] = True
            self.world.write(world)
            return Unknown(message="the connection broke")
        return answer

    def _do(self, call: Call) -> Outcome:
        world, arguments = self.world.read(), call.arguments
        services = world["services"]
        if call.path == "services.get":
            if arguments["name"] not in services:
                return Rejected(errors=("NotFound",), message="no such service", reason="unknown_target")
            return self._answer(world, [str(arguments["name"])])
        if call.path == "services.list":
            done = self._answer(world, list(services))
            return Done(
                answer=done.answer if isinstance(done.answer, list) else [done.answer], resources=done.resources
            )
        world["tick"] += 1
        world["effects"].append({"call": call.path, "on": call.on.name if call.on else None, **dict(arguments)})
        name = call.on.name if call.on else str(arguments.get("name"))
        if call.path == "services.create":
            services[name] = new_service(
                name, started=world["tick"], **{key: arguments[key] for key in ("image", "of") if key in arguments}
            )
        elif call.path == "Service.restart":
            stays_ill = services[name].get("stays_ill", False)
            services[name].update(state="failed" if stays_ill else "running", started=world["tick"])
        elif call.path == "Service.set":
            services[name][arguments["field"]] = arguments["value"]
        elif call.path == "Service.remove":
            services.pop(name, None)
        self.world.write(world)
        if call.path == "services.create":
            return self._answer(world, [name])
        return Done(answer=None)

    def _answer(self, world: dict[str, Any], names: list[str]) -> Done:
        data = [{"name": name, **world["services"][name]} for name in names]
        resources = tuple(self._resource(world, name) for name in names)
        return Done(answer=data[0] if len(data) == 1 else data, resources=resources)

    async def stream(
        self, call: Call, *, after: Marks | None = None, until: asyncio.Event | None = None
    ) -> AsyncIterator[Line]:
        if call.path == "Service.logs":
            async for line in self._files(after, until):
                yield line
            return
        for number in range(3):
            yield Line(text=f"line {number} password=hunter22", cursor=str(number))

    async def _files(self, after: Marks | None, until: asyncio.Event | None) -> AsyncIterator[Line]:
        """Of all files in ``logs`` beside the world, as they grow: one is a source, its line numbers are the cursors."""
        had: dict[str, int] = {}
        while True:
            ended = until is not None and until.is_set()
            for path in sorted((self.world.path.parent / "logs").glob("*")):
                mark = after(path.name) if after is not None and path.name not in had else ""
                begin = had.setdefault(path.name, int(mark) + 1 if mark.isdecimal() else 0)
                whole = path.read_text().rpartition("\n")[0]
                for number, text in enumerate(whole.split("\n")[begin:] if whole else (), begin):
                    had[path.name] = number + 1
                    yield Line(text=text, cursor=f"{number:09d}", source=path.name, name=path.stem)
            if ended:
                return
            await asyncio.sleep(0.005)

    async def watch(self, resources: Sequence[Resource]) -> AsyncIterator[Changed]:
        return
        yield

    async def health(self) -> Health:
        return Health(ok=True, message="rehearsing")

    def permissions(self, calls: Sequence[Call]) -> list[Permission]:
        return []

    async def missing(self, permissions: Sequence[Permission]) -> list[Permission]:
        return []


def new_service(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"id-of-{name}",
        "state": "running",
        "health": "healthy",
        "started": 1,
        "replicas": 1,
        "image": "1",
        **more,
    }
