"""Where a journal lies and who holds it: its URL, its folder, its lock. It must not open the database.

One process owns an SQLite journal. ``flock`` on ``<journal>.lock`` says so, because SQLite's own locks are per transaction;
the kernel lets it go when its holder dies, however it dies. A network file system keeps neither promise, so it is refused.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from uici.model import ConfigurationError, JournalError, JournalInUseError

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "ceph", "coda", "ncpfs", "9p", "davfs"}
) | frozenset({"glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "pvfs2", "orangefs"})
_NETWORK_FUSE = (
    "sshfs",
    "glusterfs",
    "s3fs",
    "rclone",
    "gcsfuse",
    "cephfs",
    "davfs2",
    "juicefs",
    "nfs",
    "smb",
    "curlftpfs",
)


def path_of(url: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The database file that a journal's URL names; raises ConfigurationError.

    ``sqlite:////abs/path`` (four slashes) is absolute, ``sqlite:///rel`` relative. Empty: ``journal.db`` in
    ``$STATE_DIRECTORY`` (systemd's), else in ``$XDG_STATE_HOME/uici``, else in ``~/.local/state/uici``.
    """
    if not url:
        state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".local" / "state")
        return (Path(state) if state else Path(home) / "uici").absolute() / "journal.db"
    scheme, separator, rest = url.partition(":///")
    if separator and scheme == "sqlite" and rest and "?" not in rest:
        return Path(rest).absolute()
    if scheme.partition(":")[0] in ("postgresql", "postgres"):
        raise ConfigurationError("journal.url: PostgreSQL is not supported yet; use sqlite:////path/to/journal.db")
    raise ConfigurationError(
        f"journal.url: {url[:200]!r} names no SQLite file; write sqlite:////var/lib/uici/journal.db (four slashes)"
    )


def file_system(folder: Path, mountinfo: str) -> str:
    """Type of the file system that holds ``folder`` (a real path), of ``/proc/self/mountinfo``'s text; "" if unknown."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        words = before.split()
        if not separator or len(words) < 5:
            continue
        mount = Path(words[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        # The last line wins among equals: a mount lies over what was mounted there before.
        if folder.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), after.split()[0]
    return kind


def is_network(kind: str) -> bool:
    """Whether a file system of this type may be shared with other machines."""
    return kind in _NETWORK or (kind.startswith("fuse.") and kind[5:].startswith(_NETWORK_FUSE))


def prepare(path: Path) -> Path:
    """Makes the folder (0700) and the file (0600) where they are missing; gives the real path. Raises JournalError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        real = path.resolve()
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape") if _MOUNTS.exists() else ""
        kind = file_system(real.parent, mounts)
        if is_network(kind):
            raise JournalError(
                f"{path} lies on a network file system ({kind}), where neither locks nor writes are safe; "
                "put the journal on a local disk (platform.yml: journal.url)"
            )
        if real.is_dir():
            raise JournalError(f"{path} is a folder; journal.url must name a file, such as {path}/journal.db")
        os.close(os.open(real, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be opened for writing: {error.strerror}; "
            "give this user the folder, or name another in platform.yml (journal.url)"
        ) from error
    return real


def hold(path: Path) -> int:
    """Takes the journal for this process; gives the lock's descriptor, to be closed at the end.

    Raises JournalInUseError, which names the holder, or JournalError.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise JournalError(f"the lock {lock} cannot be opened: {error.strerror}; see who may write there") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = " ".join(os.pread(descriptor, 400, 0).decode("utf-8", "replace").split()) or "another process"
        os.close(descriptor)
        raise JournalInUseError(
            f"the journal {path} is held by {holder}; use that daemon (uici finds its socket beside the journal), "
            "stop it, or give this process another journal"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise JournalError(
            f"the lock {lock} cannot be taken: {error.strerror}; the journal needs a local disk"
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} ({_command()})\n".encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise JournalError(f"the lock {lock} cannot be written: {error.strerror}; is the disk full?") from error
    return descriptor


def _command() -> str:
    try:
        words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "unknown command"
    # Arguments may carry secrets; the program and its subcommand are enough to find the holder.
    return " ".join(word.decode("utf-8", "replace") for word in words[:3] if not word.startswith(b"-"))[:120]
