"""Where a journal lies, from its URL and the environment; no network file system holds one."""

from __future__ import annotations

from pathlib import Path

import pytest

from uici.journal import open_journal
from uici.journal.location import file_system, is_network, path_of
from uici.model import ConfigurationError, JournalError

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /srv/with\\040space rw - nfs4 server:/export rw
31 22 0:41 / /home rw - fuse.sshfs host:/home rw
32 31 0:42 / /home/local rw - xfs /dev/sdb rw
33 22 0:43 / /mnt rw - tmpfs tmpfs rw
34 33 0:44 / /mnt rw - cifs //nas/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind", "network"),
    [
        ("/var/lib/uici", "ext4", False),
        ("/srv/with space/uici", "nfs4", True),
        ("/home/anna", "fuse.sshfs", True),
        ("/home/local/anna", "xfs", False),
        ("/homelander", "ext4", False),
        ("/mnt", "cifs", True),
    ],
)
def test_the_file_system_of_a_folder(folder: str, kind: str, network: bool) -> None:
    assert file_system(Path(folder), MOUNTS) == kind
    assert is_network(kind) is network


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:40 / {tmp_path} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr("uici.journal.location._MOUNTS", table)
    with pytest.raises(JournalError, match=r"network file system \(nfs4\).*local disk"):
        await open_journal(f"sqlite:///{tmp_path}/j.db")


@pytest.mark.parametrize(
    ("url", "environ", "path"),
    [
        ("sqlite:////var/lib/uici/j.db", {}, "/var/lib/uici/j.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/uici:/other"}, "/var/lib/uici/journal.db"),
        ("", {"XDG_STATE_HOME": "/x"}, "/x/uici/journal.db"),
        ("", {"HOME": "/home/anna"}, "/home/anna/.local/state/uici/journal.db"),
    ],
)
def test_where_a_journal_lies(url: str, environ: dict[str, str], path: str) -> None:
    assert path_of(url, environ) == Path(path)


@pytest.mark.parametrize("url", ["/var/lib/j.db", "postgresql://x/y", "sqlite://x", "sqlite:///", "mysql:///x"])
def test_a_url_of_no_journal(url: str) -> None:
    with pytest.raises(ConfigurationError):
        path_of(url, {})
