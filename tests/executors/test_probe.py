"""A probe tells healthy from unhealthy, within its time, whatever the other side does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from uici.executor import probe


@pytest.fixture
def served() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """A server of one behaviour for each connection; gives its port."""
    listening: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(behave: Callable[[socket.socket], None]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                # The probe may have gone, as it should.
                with connection, contextlib.suppress(OSError):
                    behave(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        threads.append(thread)
        port: int = server.getsockname()[1]
        return port

    yield serve
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(10)


def says(text: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(text)

    return behave


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("200 OK", "healthy"),
        ("204 No Content", "healthy"),
        ("302 Found", "healthy"),
        ("404 Not Found", "unhealthy"),
        ("503 No", "unhealthy"),
    ],
)
def test_the_status_tells(served: Callable[..., int], status: str, health: str) -> None:
    port = served(says(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()))
    found = probe.check(f"http://127.0.0.1:{port}/health?full=1")
    assert found["health"] == health
    assert found["healthy"] is (health == "healthy")
    assert status[:3] in found["message"]


def test_a_redirect_is_not_followed(served: Callable[..., int]) -> None:
    hits: list[bytes] = []
    elsewhere = served(lambda connection: hits.append(connection.recv(10)))
    port = served(says(f"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:{elsewhere}/\r\n\r\n".encode()))
    assert probe.check(f"http://127.0.0.1:{port}/")["health"] == "healthy"
    assert hits == []


def test_who_does_not_answer_is_unhealthy_in_time(served: Callable[..., int]) -> None:
    gone = threading.Event()
    port = served(lambda connection: gone.wait(20) and None)
    found = probe.check(f"http://127.0.0.1:{port}/", timeout_seconds=0.3)
    assert found["health"] == "unhealthy"
    assert "within 0.3s" in found["message"]
    gone.set()


def test_who_drips_is_unhealthy_in_time(served: Callable[..., int]) -> None:
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        while not over.wait(0.05):
            connection.sendall(b"H")

    found = probe.check(f"http://127.0.0.1:{served(drip)}/", timeout_seconds=0.5)
    over.set()
    assert found["health"] == "unhealthy"


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 OK\r\n", b"x" * 20_000, b"HTTP/1.1 \xff\xff\r\n"]
)
def test_what_is_no_http_is_unhealthy(served: Callable[..., int], text: bytes) -> None:
    assert probe.check(f"http://127.0.0.1:{served(says(text))}/")["health"] == "unhealthy"


def test_a_port_that_nobody_holds_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probe.check(f"tcp://127.0.0.1:{port}")["health"] == "healthy"
    assert probe.check(f"tcp://127.0.0.1:{port}")["health"] == "unhealthy"
    assert probe.check(f"http://127.0.0.1:{port}/")["health"] == "unhealthy"


def test_tls_that_cannot_be_trusted_is_unhealthy(served: Callable[..., int]) -> None:
    assert probe.check(f"https://127.0.0.1:{served(says(b'no tls'))}/")["health"] == "unhealthy"


@pytest.mark.parametrize("url", ["", None])
def test_without_a_url_nobody_can_tell(url: str | None) -> None:
    found = probe.check(url)
    assert found["health"] == "unknown"
    assert "healthy" not in found


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://a:1/",
        "tcp://host",
        "http://",
        "http://a/\r\nHost: b",
        "http://a/ b",
        "http://a/\u00e9",
        "unix:///s",
    ],
)
def test_what_is_no_probe_is_a_mistake_of_the_writer(url: str) -> None:
    with pytest.raises(ValueError, match="probe"):
        probe.check(url)
