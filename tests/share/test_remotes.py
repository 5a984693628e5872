"""Remotes that fail: one line that says why and what to do, whatever DVC says."""

import errno
import gc
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc_objects.fs.local import LocalFileSystem

from pipeline.core.errors import RemoteError
from pipeline.share.dvc_remote import is_tracked, pull, push
from tests.share.bucket import KEY_ID, SECRET, Bucket, serve_bucket

# DVC's own use of pygtrie.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

DATA = Path("store")
NO_GIT = "[core]\n    no_scm = true\n    analytics = false\n"
FILES = {"rows/0": b"rows", "logits/0": b"logits", "logits/1": b"more logits"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A DVC project with a folder that was pushed, and is in no cache any more."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Repo.init(no_scm=True).close()
    for name, data in FILES.items():
        (DATA / name).parent.mkdir(parents=True, exist_ok=True)
        (DATA / name).write_bytes(data)
    set_remote("../../remote")
    with Repo() as repo:
        repo.add(str(DATA))
    assert push([DATA], None) == len(FILES) + 1
    forget()
    yield folder
    os.chdir("/")


def set_remote(url: str, *options: str) -> None:
    """Have one remote, the default one."""
    lines = (f"url = {url}", *options)
    text = f"{NO_GIT}    remote = shared\n['remote \"shared\"']\n    " + "\n    ".join(lines)
    Path(".dvc/config").write_text(text + "\n")


def forget() -> None:
    """Remove what is here and in the cache."""
    shutil.rmtree(DATA, ignore_errors=True)
    shutil.rmtree(".dvc/cache", ignore_errors=True)
    shutil.rmtree(".dvc/tmp", ignore_errors=True)


def said(work: Callable[[], object]) -> str:
    """Return the one line of work that fails."""
    with pytest.raises(RemoteError) as caught:
        work()
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_part_comes_and_nothing_else(project: Path) -> None:
    """Catches a pull of one folder that brings all; the failures below would mean nothing."""
    assert is_tracked(DATA) and is_tracked(DATA / "logits") and not is_tracked(Path("other"))
    pull([DATA / "logits" / "1"], None)
    assert [path for path in DATA.rglob("*") if path.is_file()] == [DATA / "logits" / "1"]
    pull([DATA / "rows"], None)
    assert (DATA / "rows" / "0").read_bytes() == b"rows" and not (DATA / "logits" / "0").exists()


def test_an_unknown_remote(project: Path) -> None:
    """Catches a misspelt name that ends in a traceback."""
    line = said(lambda: pull([DATA], "sharde"))
    assert line.startswith("the remote 'sharde' cannot be used: ")
    assert "remote 'sharde' doesn't exist" in line and line.endswith("names those there are.")


def test_no_remote(project: Path) -> None:
    """Catches a clone without a remote that is told nothing."""
    Path(".dvc/config").write_text(NO_GIT)
    line = said(lambda: pull([DATA], None))
    assert line.startswith("no remote is set up to bring files from, or send them to. Run 'dvc rem")


def test_a_wrong_place(project: Path) -> None:
    """Catches a path with a slip in it that looks like an empty pull."""
    set_remote("../../remoet")
    line = said(lambda: pull([DATA], None))
    assert line.startswith("the project's default remote is not there (FileNotFoundError: ")
    assert "/remoet" in line and "dvc remote list" in line


def test_a_remote_that_got_only_half(project: Path) -> None:
    """Catches a store that was pushed in part and is called damaged."""
    (lost,) = [
        path
        for path in Path("../remote").rglob("*")
        if path.is_file() and path.read_bytes() == b"logits"
    ]
    lost.unlink()
    line = said(lambda: pull([DATA], None))
    assert line.startswith("the project's default remote lacks 1 or more of the files, ")
    assert "ask who captured to run 'dvc push'" in line


def test_a_path_that_nobody_tracks(project: Path) -> None:
    """Catches a repository without its dvc.lock."""
    line = said(lambda: pull([Path("other")], None))
    assert "'other'" in line and "commit and 'git pull' dvc.lock" in line


def test_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a command in the wrong folder."""
    monkeypatch.chdir(tmp_path)
    line = said(lambda: pull([DATA], None))
    assert line == "there is no DVC project here. Run it in the project's folder."


class _Locked(BaseHTTPRequestHandler):
    """Answers everything with 401."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815  # the names are http.server's

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.filterwarnings("ignore:Unclosed c:ResourceWarning")  # of dvc-http's session
def test_missing_credentials(project: Path) -> None:
    """Catches a remote that asks for a password and is only called empty: over HTTP, DVC cannot
    tell a file that is refused from one that is not there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Locked)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        set_remote(f"http://127.0.0.1:{server.server_port}/store")
        line = said(lambda: pull([DATA], None))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "lacks 1 or more of the files, or does not show them to you" in line
    assert "your credentials" in line
    gc.collect()  # here, lest that session be found unclosed in another test


def test_a_remote_whose_package_is_missing(project: Path) -> None:
    """Catches an S3 remote on a machine without dvc-s3 that is called unreachable."""
    set_remote("gdrive://folder/store")
    line = said(lambda: pull([DATA], None))
    assert "needs a package that is not installed" in line and "dvc-gdrive" in line


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """An S3 server with the bucket `bucket`, which stays empty."""
    with serve_bucket("bucket") as served:
        yield served


S3, SERVER, CLOSED = "s3://bucket/decant", "the server", "http://127.0.0.1:1"
S3_FAULTS = {
    "no credentials": (S3, SERVER, "", r"NoCredentialsError: Unable to locate credentials"),
    "another team's": (S3, SERVER, "AKIAOTHER", r"ClientError: .*Forbidden"),
    "no such bucket": ("s3://buckte/decant", SERVER, KEY_ID, r"NoSuchBucket: .* does not exist"),
    "nobody there": (S3, CLOSED, KEY_ID, r"ConnectionRefusedError: .*127\.0\.0\.1"),
    "no URL": (S3, "s3.example.com", KEY_ID, r"ValueError: Invalid endpoint: s3\.example\.com"),
}
"""Place, server and access key, and what is said of them."""


@pytest.mark.parametrize("fault", S3_FAULTS)
def test_s3(project: Path, bucket: Bucket, fault: str) -> None:
    """Catches a fault of bucket, server or credentials that ends in a traceback, or is called a
    lack of files."""
    url, endpoint, key, reason = S3_FAULTS[fault]
    keys = [f"access_key_id = {key}", f"secret_access_key = {SECRET}"] if key else []
    options = (f"endpointurl = {bucket.url if endpoint == SERVER else endpoint}", *keys)
    pull([DATA], None)
    set_remote(url, *options)
    lines = [said(lambda: push([DATA], None))]
    forget()
    lines.append(said(lambda: pull([DATA], None)))
    for line in lines:
        assert re.search(f"^the project's default remote (failed|is not there) .{reason}", line)
        assert "'dvc remote list'" in line and "your credentials for it" in line


@pytest.mark.parametrize("direction", ["pull", "push"])
def test_a_full_disk(project: Path, monkeypatch: pytest.MonkeyPatch, direction: str) -> None:
    """Catches a disk without space, here or on the remote, that is called a network error."""
    if direction == "push":
        pull([DATA], None)
        shutil.rmtree("../remote")

    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("put_file", "get_file", "copy", "link", "reflink", "cp_file", "upload_fobj"):
        if name in dir(LocalFileSystem):
            monkeypatch.setattr(LocalFileSystem, name, fail)
    line = said(lambda: pull([DATA], None) if direction == "pull" else push([DATA], None))
    assert "No space left on device" in line and "neither disk is full" in line
