"""The look-ups' HTTP against a loopback server that says what it is told to: whole, in pieces, cut off, or no HTTP at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from uici.executor.wire import Address, Said, Wire

HEAD = b"HTTP/1.1 200 OK\r\nServer: Docker\r\n"
LENGTH = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
UNTIL_THE_END = HEAD + b"\r\nhello"
END = b""  # the server ends the connection


class Server:
    """``answers``: for each request in turn, the pieces that are sent; ``END`` ends the connection."""

    def __init__(self, answers: Sequence[Sequence[bytes]]) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(request)
                for piece in self.answers.pop(0):
                    if piece == END:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)  # the next piece is another packet
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def wire(
    folder: Path, *answers: Sequence[bytes], lost: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[Wire, Server]]:
    server = Server(answers)
    listening = await asyncio.start_unix_server(server.serve, folder / "s")
    made = Wire(Address(host="docker", socket=str(folder / "s")), lost)
    try:
        async with asyncio.timeout(20):
            yield made, server
    finally:
        await made.close()
        listening.close()
        await listening.wait_closed()


def in_bytes(answer: bytes) -> list[bytes]:
    return [answer[at : at + 1] for at in range(len(answer))]


@pytest.mark.parametrize(
    "answer",
    [
        [LENGTH],
        [CHUNKS],
        [UNTIL_THE_END, END],
        in_bytes(LENGTH),
        in_bytes(CHUNKS),
        [LENGTH, END],
        [CHUNKS[:50], CHUNKS[50:]],
    ],
    ids=["length", "chunks", "until-the-end", "length-in-bytes", "chunks-in-bytes", "then-ends", "two-pieces"],
)
async def test_an_answer_is_read_to_its_end(tmp_path: Path, answer: list[bytes]) -> None:
    async with wire(tmp_path, answer) as (asked, server):
        said = await asked.get("/v1/x", {"all": 1, "filters": '{"a": 1}'})
    assert (said.status, said.reason, said.body) == (200, "OK", b"hello")
    assert said.headers["server"] == "Docker"
    assert server.asked == [b"GET /v1/x?all=1&filters=%7B%22a%22%3A+1%7D HTTP/1.1\r\nHost: docker\r\n\r\n"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "no HTTP"),
        ([HEAD + b"Content-Length: five\r\n\r\n"], "no HTTP"),
        ([HEAD + b"Content-Length: 50\r\n\r\nhello", END], "before its answer's end"),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", END], "before its answer's end"),
        ([END], "before its answer's end"),
    ],
    ids=["ssh", "length", "cut-off", "chunks-cut-off", "nothing"],
)
async def test_what_is_no_whole_answer_is_an_error(tmp_path: Path, answer: list[bytes], why: str) -> None:
    lost: list[int] = []
    async with wire(tmp_path, answer, [LENGTH], lost=lambda: lost.append(1)) as (asked, server):
        with pytest.raises(ConnectionError, match=why):
            await asked.get("/v1/x")
        assert lost == [1]
        assert (await asked.get("/v1/y")).body == b"hello"
    assert server.connections == 2


async def test_connections_are_kept_and_one_that_ended_is_made_anew(tmp_path: Path) -> None:
    ended = asyncio.Event()
    async with wire(tmp_path, [LENGTH], [CHUNKS, END], [LENGTH], lost=ended.set) as (asked, server):
        await asked.get("/a")
        await asked.get("/b")
        assert server.connections == 1
        await ended.wait()
        assert (await asked.get("/c")).body == b"hello"
        assert server.connections == 2


async def test_asked_again_where_the_kept_connection_ends_meanwhile(tmp_path: Path) -> None:
    """It ends with the request on its way and nothing answered: the next connection gets the same request."""
    async with wire(tmp_path, [LENGTH], [END], [LENGTH]) as (asked, server):
        await asked.get("/a")
        assert (await asked.get("/b")).body == b"hello"
    assert [one.split()[1] for one in server.asked] == [b"/a", b"/b", b"/b"]


async def test_never_asked_again_once_an_answer_has_begun(tmp_path: Path) -> None:
    async with wire(tmp_path, [LENGTH], [b"HTTP/1.1 20", END], [LENGTH]) as (asked, server):
        await asked.get("/a")
        with pytest.raises(ConnectionError):
            await asked.get("/b")
    assert len(server.asked) == 2


async def test_what_was_not_asked_is_no_answer_to_the_next(tmp_path: Path) -> None:
    ended = asyncio.Event()
    late = LENGTH.replace(b"hello", b"later")
    async with wire(tmp_path, [LENGTH, late], [LENGTH], lost=ended.set) as (asked, server):
        assert (await asked.get("/a")).body == b"hello"
        await ended.wait()
        assert (await asked.get("/b")).body == b"hello"
        assert server.connections == 2


async def test_who_is_cancelled_leaves_no_answer_behind(tmp_path: Path) -> None:
    async with wire(tmp_path, [HEAD], [LENGTH]) as (asked, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asked.get("/slow")
        assert (await asked.get("/b")).body == b"hello"
        assert server.connections == 2


async def test_lines_of_an_answer_that_goes_on(tmp_path: Path) -> None:
    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data)

    many = b"".join(b"%d\n" % number for number in range(100_000))
    pieces = [chunk(many[at : at + 50_000]) for at in range(0, len(many), 50_000)]
    answer = [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk(b"a\nb"), chunk(b"c\n\n"), *pieces, b"0\r\n\r\n"]
    async with wire(tmp_path, answer, [LENGTH]) as (asked, server):
        lines = [line async for line in asked.lines("/events", {}, 20.0)]
        assert lines[:2] == [b"a", b"bc"]
        assert lines[2:] == [b"%d" % number for number in range(100_000)]
        assert (await asked.get("/b")).body == b"hello"
        assert server.connections == 1


async def test_lines_end_with_their_time_and_are_refused_with_the_engine_s_word(tmp_path: Path) -> None:
    refused = b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nbusy"
    async with wire(tmp_path, [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], [refused]) as (asked, _):
        assert [line async for line in asked.lines("/events", {}, 0.05)] == []
        with pytest.raises(ConnectionError, match="500: busy"):
            await anext(asked.lines("/events", {}, 20.0))


async def test_many_at_one_time_have_a_connection_each(tmp_path: Path) -> None:
    async with wire(tmp_path, *([LENGTH] for _ in range(40))) as (asked, server):
        said: list[Said] = await asyncio.gather(*(asked.get(f"/{number}") for number in range(40)))
        assert [one.body for one in said] == [b"hello"] * 40
        assert server.connections == 16


async def test_over_tcp_with_a_path_before_each(tmp_path: Path) -> None:
    server = Server([[LENGTH]])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    asked = Wire(Address(f"127.0.0.1:{port}", name="127.0.0.1", port=port, prefix="/docker"), lambda: None)
    try:
        async with asyncio.timeout(20):
            assert (await asked.get("/v1/x")).body == b"hello"
    finally:
        await asked.close()
        listening.close()
        await listening.wait_closed()
    assert server.asked == [f"GET /docker/v1/x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()]


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/a\nb"])
async def test_no_path_becomes_another_request(tmp_path: Path, path: str) -> None:
    async with wire(tmp_path) as (asked, server):
        with pytest.raises(ValueError, match="another request"):
            await asked.get(path)
        assert server.connections == 0


# Changes


@pytest.mark.parametrize("said", [(LENGTH,), (CHUNKS,), (b"HTTP/1.1 204 No Content\r\n\r\n",)])
async def test_a_post_is_asked_once(tmp_path: Path, said: Sequence[bytes]) -> None:
    async with wire(tmp_path, said, (LENGTH,)) as (it, server):
        left: list[int] = []
        answer = await it.post("/restart?t=3", lambda: left.append(len(server.asked)))
        assert answer.status in (200, 204)
        assert left == [0], "it is said before it leaves"
        assert server.asked == [b"POST /restart?t=3 HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"]
        await it.get("/json")
        assert server.connections == 1, "its connection serves the next look"


async def test_a_post_never_uses_a_connection_that_was_kept(tmp_path: Path) -> None:
    """Ended by the other side just now, it would leave a doubt that nothing was wrong with."""
    async with wire(tmp_path, (LENGTH,), (LENGTH,)) as (it, server):
        await it.get("/json")
        await it.post("/start", lambda: None)
        assert server.connections == 2


async def test_a_post_that_is_not_answered_is_not_repeated(tmp_path: Path) -> None:
    async with wire(tmp_path, (END,), (LENGTH,)) as (it, server):
        left: list[str] = []
        with pytest.raises(ConnectionError):
            await it.post("/start", lambda: left.append("sent"))
        assert (left, len(server.asked)) == (["sent"], 1)


async def test_of_a_post_that_never_left_nothing_is_said(tmp_path: Path) -> None:
    made = Wire(Address(host="docker", socket=str(tmp_path / "nobody")), lambda: None)
    left: list[str] = []
    with pytest.raises(OSError):  # noqa: PT011 - whichever it is, nothing was sent
        await made.post("/start", lambda: left.append("sent"))
    with pytest.raises(ValueError, match="another request"):
        await made.post("/start HTTP/1.1\r\n", lambda: left.append("sent"))
    assert left == []
    await made.close()


@pytest.mark.parametrize("ways", [0, 1, 2, 3, 4, 5])
async def test_what_is_still_being_connected_at_the_end_is_ended_too(tmp_path: Path, ways: int) -> None:
    async with wire(tmp_path, ()) as (it, _):
        asked = asyncio.create_task(it.get("/json"))
        for _ in range(ways):
            await asyncio.sleep(0)
        await it.close()
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(5):
                await asked
