"""Sources in an S3 store: a server on this machine, found through fsspec's own configuration."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fixtures.layouts import LAYOUTS

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import open_root
from fuseline.stores.remote import UnreachableError
from fuseline.tasks.documents.ingest import Scan, ingest, ingest_quarantine, scan
from fuseline.tasks.engine.images import ImageLimits, decode, open_image
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.readers import READERS, image_root

SECRET = "not-to-be-printed"  # noqa: S105
ROWS = 12


@pytest.fixture(scope="module")
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """Start a store, and set its endpoint and keys where fsspec looks for them."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "someone", "secret": SECRET}
    environment = {"FSSPEC_S3": json.dumps(options)}
    before = dict(fsspec.config.conf)
    fsspec.config.set_conf_env(fsspec.config.conf, environment)
    fs = fsspec.filesystem("s3")
    fs.mkdir("sets")
    yield fs
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)
    server.stop()


def uploaded(store: fsspec.AbstractFileSystem, name: str, tmp_path: Path) -> str:
    """Write a layout into the store, and return its URL."""
    LAYOUTS[name].make(tmp_path / "set", ROWS)
    store.put(str(tmp_path / "set"), f"sets/{name}", recursive=True)
    return f"s3://sets/{name}"


def pipeline(name: str, url: str, root: Path) -> tuple[Config, Ingest]:
    """Return the configuration of a layout in the store, and its first node."""
    layout = LAYOUTS[name]
    source = {"reader": layout.reader, "path": url, "options": dict(layout.options)}
    config = Config.model_validate({"root": str(root), "source": source, "shard_size": 5})
    node = build(config)[0]
    assert isinstance(node, Ingest)
    return config, node


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jsonl", "parquet", "webdataset", "imagefolder", "img2dataset", "webvision_tars"])
def test_a_store_gives_the_same_documents_as_a_folder(store, tmp_path, name, caplog):
    caplog.set_level(logging.DEBUG)
    url = uploaded(store, name, tmp_path)
    layout = LAYOUTS[name]
    options = READERS[layout.reader].options(**layout.options)
    here, there = (
        [row for table in READERS[layout.reader].read(path, options) for row in table.to_pylist()]
        for path in (str(tmp_path / "set"), url)
    )
    assert there == here
    copying = options.model_copy(update={"images": "copy"})
    copies = [row["image"] for table in READERS[layout.reader].read(url, copying) for row in table.to_pylist()]
    limits = ImageLimits()
    want = [row["image"] and open_image(row["image"], str(tmp_path / "set"), limits) for row in here]
    assert [image and image["bytes"] for image in copies] == want

    config, node = pipeline(name, url, tmp_path / "out")
    reports: list[object] = []
    root = open_root(tmp_path / "out")
    ingest(node, root, done=reports.append)
    dataset = node.dataset(root)
    rows = [row for record in dataset.records().values() for row in dataset.read(record).to_pylist()]
    assert len(rows) + ingest_quarantine(node, root).num_rows == ROWS
    assert config.source.image_root() == image_root(url, options) == url
    shown = [row["image"] for row in rows if row["image"]]
    assert shown
    for image in shown:
        assert decode(open_image(image, url, limits), limits=limits).shape == (16, 16, 3)
    assert scan(node, root) == Scan({})

    kept = json.dumps(node.manifest.config) + config.to_yaml() + caplog.text
    assert SECRET not in kept
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


@pytest.mark.slow
def test_a_change_in_the_store_is_seen_by_the_same_process(store, tmp_path):
    url = uploaded(store, "jsonl", tmp_path)
    _, node = pipeline("jsonl", url, tmp_path / "out")
    root = open_root(tmp_path / "out")
    ingest(node, root, done=lambda report: None)
    lines = store.cat_file("sets/jsonl/documents.jsonl").splitlines(keepends=True)
    writer = fsspec.filesystem("s3", skip_instance_cache=True)  # another process, as far as kept listings go
    first = json.loads(lines[0])
    swapped = json.dumps({**first, "title": first["title"][::-1]}, ensure_ascii=False).encode() + b"\n"
    writer.pipe_file("sets/jsonl/documents.jsonl", b"".join([swapped, *lines[1:]]))
    assert scan(node, root).changed == {0: 1}
    ingest(node, root, done=lambda report: None)
    image = store.cat_file("sets/jsonl/images/0000003.jpg")
    writer.pipe_file("sets/jsonl/images/0000007.jpg", image)  # of the same size, within the same second
    assert scan(node, root).changed == {1: 1}


@pytest.mark.slow
def test_part_of_an_object_is_all_that_is_fetched(store):
    from fuseline.tasks.readers.places import place

    store.pipe_file("sets/big.bin", bytes(range(256)) * 4096)
    store.pipe_file("sets/empty.bin", b"")
    assert place("s3://sets/big.bin").part(257, 3) == b"\x01\x02\x03"
    assert place("s3://sets/big.bin").part((1 << 20) - 1, 10) == b"\xff"
    assert place("s3://sets/big.bin").part(1 << 21, 10) == b""
    assert place("s3://sets/empty.bin").part(0, 10) == b""


@pytest.mark.slow
def test_what_is_not_in_the_store_is_refused_in_our_words(store):
    entry = READERS["jsonl"]
    for url in ("s3://sets/absent.jsonl", "s3://no-such-bucket/x.jsonl"):
        with pytest.raises(ConfigError, match=r"source\.path"):
            list(entry.read(url, entry.options()))


def test_a_password_in_a_url_is_refused_and_not_shown():
    entry = READERS["jsonl"]
    with pytest.raises(ConfigError, match=r"FSSPEC_FTP") as caught:
        list(entry.files(f"ftp://someone:{SECRET}@host/d.jsonl", entry.options()))
    assert SECRET not in str(caught.value)


def test_a_connection_that_breaks_is_no_damaged_file(tmp_path, load):
    """What a store held must not count as gone because it answers no more."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise ConnectionResetError("gone")
            return super().read(40)

    memory = fsspec.filesystem("memory")
    memory.pipe("/broken/d.jsonl", b'{"id": "1"}\n' * 100)
    whole = type(memory).open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory), "open", lambda self, path, mode: Broken(whole(self, path, mode).read()))
        with pytest.raises(UnreachableError, match="gone"):
            load("jsonl", "memory://broken")
