"""Fetching against a local server that breaks off, redirects, stalls and serves wrong bytes."""

import hashlib
import http.server
import os
import threading
import time
import zipfile

import pytest

from ehr_jax import config as base
from ehr_jax import errors
from ehr_jax.download import fetch, publishers
from ehr_jax.modes import download

BODY = os.urandom(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


class Publisher(http.server.BaseHTTPRequestHandler):
    """Serves BODY at every path, in the manner that the path names, and counts the requests."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        times = len(server.asked)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/busy" and times < 3:
            self.send_error(503)
            return
        body = server.bodies.get(self.path, BODY)
        start = 0
        if self.headers.get("Range") and self.path != "/anew":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        breaks = self.path in ("/broken", "/anew") and times < 3
        if self.path == "/stalled" and times < 2:
            self.wfile.write(body[:1000])
            self.wfile.flush()
            time.sleep(1.5)
            return
        self.wfile.write(body[start : start + 1_200_000] if breaks else body[start:])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    made.asked, made.bodies = [], {}
    made.address = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def get(server, path, place, sha256=SHA256, **more):
    fetch.fetch(server.address + path, place, sha256, wait=0.01, silence=0.5, **more)


@pytest.mark.parametrize("path", ["/whole", "/moved", "/broken", "/anew", "/busy", "/stalled"])
def test_a_file_comes_whole_however_it_is_served(server, tmp_path, path):
    get(server, path, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert os.listdir(tmp_path) == ["file"]


def test_what_broke_off_is_gone_on_with(server, tmp_path):
    get(server, "/broken", tmp_path / "file")
    assert [asked for _, asked in server.asked] == [None, "bytes=1200000-", "bytes=2400000-"]


def test_a_later_start_goes_on_with_the_part(server, tmp_path):
    (tmp_path / "file.part").write_bytes(BODY[:2_000_000])
    get(server, "/whole", tmp_path / "file")
    assert server.asked == [("/whole", "bytes=2000000-")]
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_part_that_is_whole_or_too_long_does_no_harm(server, tmp_path):
    for part in (BODY, BODY + b"more"):
        (tmp_path / "file.part").write_bytes(part)
        get(server, "/whole", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == BODY


def test_wrong_bytes_are_never_placed(server, tmp_path):
    with pytest.raises(errors.DownloadError, match=f"SHA-256 is {SHA256}, expected 00"):
        get(server, "/whole", tmp_path / "file", "00" * 32)
    with pytest.raises(errors.DownloadError, match="3000000 bytes came, 7 were expected"):
        get(server, "/whole", tmp_path / "file", None, size=7)
    assert os.listdir(tmp_path) == []


def test_a_page_in_place_of_a_file_of_unknown_checksum_is_refused(server, tmp_path):
    server.bodies["/page"] = b"\n<!DOCTYPE html><p>Under maintenance</p>"
    with pytest.raises(errors.DownloadError, match="a web page came in its place"):
        get(server, "/page", tmp_path / "file", None)
    assert os.listdir(tmp_path) == []


def test_an_absent_file_is_not_tried_again(server, tmp_path):
    with pytest.raises(errors.DownloadError, match="answers 404"):
        get(server, "/gone", tmp_path / "file")
    assert len(server.asked) == 1


def test_an_unreachable_publisher_says_what_to_look_at(tmp_path):
    with pytest.raises(errors.DownloadError, match="5 tries failed.*proxy"):
        fetch.fetch("http://127.0.0.1:9/x", tmp_path / "file", None, wait=0.01, silence=0.5)


def test_a_data_set_is_fetched_once_unpacked_and_checked(server, tmp_path):
    zipped = tmp_path / "made.zip"
    with zipfile.ZipFile(zipped, "w") as made:
        made.writestr("inner/A.csv", "a\n1\n")
    server.bodies["/zip"] = zipped.read_bytes()
    server.bodies["/sums"] = f"{SHA256} *other\n{SHA256} listed.bin\n".encode()
    sha256 = hashlib.sha256(b"a\n1\n").hexdigest()
    wanted = publishers.DataSet(
        "x",
        (
            publishers.File(server.address + "/zip", "a.zip", members={"a.csv": ("a.csv", sha256)}),
            publishers.File(server.address + "/b", "sub/b.bin", SHA256),
            publishers.File(server.address + "/c", "listed.bin", sums=server.address + "/sums"),
        ),
        "terms",
    )
    folder = tmp_path / "set"
    assert fetch.data_set(wanted, folder, 0.01, 0.5) == 3
    assert sorted(os.listdir(folder)) == ["a.csv", "listed.bin", "sub"]
    assert (folder / "a.csv").read_text() == "a\n1\n"
    asked = len(server.asked)
    assert fetch.data_set(wanted, folder, 0.01, 0.5) == 0 and len(server.asked) == asked


def test_a_changed_member_or_a_broken_zip_is_refused(server, tmp_path):
    zipped = tmp_path / "made.zip"
    with zipfile.ZipFile(zipped, "w") as made:
        made.writestr("A.csv", "a\n2\n")
    for body, message in ((zipped.read_bytes(), "A.csv|a.csv is not"), (BODY, "no whole zip")):
        server.bodies["/zip"] = body
        file = publishers.File(
            server.address + "/zip", "a.zip", members={"a.csv": ("a.csv", "00" * 32)}
        )
        with pytest.raises(errors.DownloadError, match=message):
            fetch.data_set(publishers.DataSet("x", (file,), ""), tmp_path / "set", 0.01, 0.5)
        assert not (tmp_path / "set" / "a.csv").exists()


def test_credentialed_data_is_pointed_at_and_never_tried(tmp_path):
    config = base.defaults()
    config.download.name = "mimic4"
    with pytest.raises(errors.DownloadError, match="physionet.org/content/mimiciv.*mimic4_demo"):
        download.run(config, tmp_path)
    config.download.name = "mimic4_dem"
    with pytest.raises(errors.ConfigError, match="Did you mean 'mimic4_demo'"):
        download.run(config, tmp_path)


def test_every_file_has_a_safe_place_and_an_https_address():
    for wanted in publishers.DATA_SETS.values():
        for file in wanted.files:
            assert file.url.startswith("https://")
            for path in [file.path, *(place for place, _ in (file.members or {}).values())]:
                assert not path.startswith("/") and ".." not in path.split("/")
            known = file.sha256 or file.sums or file.members
            assert known or wanted.folder == "primekg"
