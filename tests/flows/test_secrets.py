"""Secrets that users plant stand nowhere below the root, in no log and not in Prefect's database."""

import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from fuseline.flows.cli.starting import configuration_name
from fuseline.flows.config import parse_config
from fuseline.flows.graph import build
from fuseline.flows.parameters import settings_of
from fuseline.stores.errors import ConfigError
from tests.flows.conftest import Cli

SECRET = "PLANTED1SECRET"  # noqa: S105
DOCUMENTS = [
    {
        "id": f"d{n}", "text": "alpha beta" if n % 2 else "gamma delta", "label": "x" if n % 2 else "y",
        "image": f"https://{SECRET}@h/{n}.png?X-Amz-Signature={SECRET}",
    }
    for n in range(20)
]  # fmt: skip


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, whatever the query, and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a folder that a server of ours serves."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "documents.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in DOCUMENTS))

    def handler(*arguments: Any) -> Quiet:
        return Quiet(*arguments, directory=str(tmp_path / "served"))

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def values(root: Path, path: str) -> dict[str, Any]:
    models = {"text": {"kind": "text", "options": {"preset": "fasttext", "dim": 4, "epochs": 2}}}
    return {"name": "signed", "root": str(root), "source": {"reader": "jsonl", "path": path}, "models": models}


def planted(folder: Path) -> list[Path]:
    """Return the files that hold the secret, as it is or in packed columns."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [path for path in files if SECRET.encode() in path.read_bytes()]
    tables = (path for path in files if path.suffix == ".parquet")
    return [*found, *(path for path in tables if SECRET in str(pq.read_table(path, partitioning=None).to_pylist()))]


def test_a_signed_url_leaves_no_trace(cli: Cli, tmp_path: Path, url: str) -> None:
    config, root = tmp_path / "c.yaml", tmp_path / "root"
    path = f"{url}/documents.jsonl?X-Amz-Signature={SECRET}"
    config.write_text(yaml.safe_dump(values(root, path)))
    commands = ("plan", "run", "status", "config show", "config check", "verify", "report", "plan")
    outputs = [cli(*command.split(), config).output for command in commands]
    assert "train/text" in outputs[1]
    assert "?***" in outputs[3]
    assert [n for n, output in enumerate(outputs) if SECRET in output] == []
    assert planted(root) == []
    assert planted(Path(os.environ["PREFECT_HOME"])) == []
    result = cli("predict", config, "--model", "text", "--source", path, "-o", tmp_path / "new.parquet")
    assert result.exit_code == 0, result.output
    assert planted(root) == planted(Path(os.environ["PREFECT_HOME"])) == []
    assert SECRET not in result.output


def test_an_error_hides_it_too(cli: Cli, tmp_path: Path, url: str) -> None:
    config = tmp_path / "c.yaml"
    for path in (f"{url}/absent.jsonl?sig={SECRET}", f"http://{SECRET}@127.0.0.1:9/x.jsonl",
                 f"http://user:{SECRET}/a@127.0.0.1:9/x.jsonl"):  # fmt: skip
        config.write_text(yaml.safe_dump(values(tmp_path / "root", path)))
        for arguments in (("plan", config), ("run", config, "--verbose")):
            result = cli(*arguments)
            assert result.exit_code in (1, 2)
            assert SECRET not in result.output
            assert "***" in result.output


def test_a_planted_secret_would_be_found(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [SECRET] * 100}), tmp_path / "a.parquet", compression="zstd")
    (tmp_path / "b.json").write_text(f"{{{SECRET}}}")
    assert {path.name for path in planted(tmp_path)} == {"a.parquet", "b.json"}


def test_keys_do_not_depend_on_secrets(tmp_path: Path) -> None:
    def keys(secret: str) -> list[str]:
        config = values(tmp_path, f"https://h/a.jsonl?sig={secret}")
        config["source"]["options"] = {"root": f"https://h/images?sig={secret}"}
        return [node.key for node in build(parse_config(config))]

    assert keys("one") == keys("two")


def test_a_deployment_takes_no_secret_as_a_parameter() -> None:
    with pytest.raises(ConfigError, match="stand in Prefect's database") as caught:
        settings_of("conf/demo.yaml", {"source.path": f"https://h/a.jsonl?sig={SECRET}"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("tail", ["documents.jsonl?X-Amz-Signature=", "documents?sig="])
def test_a_first_configuration_is_not_named_after_a_secret(tmp_path: Path, tail: str) -> None:
    """Names go into folders, records and reports; the path alone holds what its reader needs."""
    source = f"https://host/{tail}{SECRET}"
    assert configuration_name(source) == "documents"
