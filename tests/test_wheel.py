"""The wheel holds the whole package and nothing else, and runs beside packages that are called like our folders."""

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from tests.flows.conftest import document, settings, write_config, write_documents
from tests.flows.live import clean_env

ROOT = Path(__file__).parents[1]
FOLDERS = ("flows", "tasks", "stores", "models", "reports")
pytestmark = pytest.mark.slow


def call(command: Sequence[object], cwd: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in clean_env().items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of a copy of the sources: in isolation, or with what is installed where no index answers."""
    folder = tmp_path_factory.mktemp("wheel")
    sources, out = folder / "sources", folder / "dist"
    sources.mkdir()
    for name in (*FOLDERS, "fuseline"):
        shutil.copytree(ROOT / name, sources / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", sources, "--no-deps", "--wheel-dir", out, "--retries", 0]
    if call([*command, "--timeout", 5], folder, check=False).returncode:
        call([*command, "--no-build-isolation"], folder)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a fresh environment that holds the wheel, what it needs, and packages of our names."""
    folder = tmp_path_factory.mktemp("environment")
    call([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    programs = folder / "venv" / "bin"
    # Before what it needs is at hand: pip would see there that the package is installed already.
    pip = [sys.executable, "-m", "pip", "--python", programs / "python"]
    call([*pip, "install", "--no-deps", "--no-index", wheel], folder)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A line of a .pth is searched, but the .pth files there are not read: an editable install of ours stays unknown.
    (packages / "needs.pth").write_text("\n".join(one for one in sys.path if one.endswith("site-packages")))
    for name in FOLDERS:
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text("raise RuntimeError('this is somebody else')\n")
    return programs


def test_it_holds_every_file_of_ours_and_no_links(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = archive.infolist()
    assert {one.filename.partition("/")[0].partition("-")[0] for one in members} == {"fuseline"}
    assert not any(stat.S_ISLNK(one.external_attr >> 16) for one in members)
    names = {one.filename for one in members if ".dist-info/" not in one.filename}
    files = (file for folder in FOLDERS for file in (ROOT / folder).rglob("*"))
    ours = {f"fuseline/{file.relative_to(ROOT).as_posix()}" for file in files if file.is_file()}
    ours |= {f"fuseline/{file.name}" for file in (ROOT / "fuseline").glob("*.py")}
    assert names == {name for name in ours if "__pycache__" not in name}
    sizes = {one.filename: one.file_size for one in members}
    for name in ("models/weights/dlib_face_resnet_v1_128d.onnx", "reports/report.html", "reports/papers/published.csv"):
        assert sizes[f"fuseline/{name}"] == (ROOT / name).stat().st_size
    assert any(name.endswith("licenses/LICENSE") for name in sizes)


def test_it_is_the_installed_one_that_runs(installed: Path, tmp_path: Path) -> None:
    where = call([installed / "python", "-c", "import fuseline.models as m; print(m.__file__)"], tmp_path).stdout
    assert Path(where.strip()).is_relative_to(installed.parent)
    theirs = call([installed / "python", "-c", f"import {FOLDERS[0]}"], tmp_path, check=False)
    assert "somebody else" in theirs.stderr


def test_a_pipeline_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    """Worker processes, Prefect's flows and the report's templates are all found, and nobody else's package is."""
    (tmp_path / "images").mkdir()
    write_documents(tmp_path, [document(tmp_path, number) for number in range(24)])
    values = settings(tmp_path) | {"root": "out", "source": {"reader": "jsonl", "path": "documents.jsonl"}}
    config = write_config(tmp_path, values)
    done = call([installed / "fuseline", "run", config.name], tmp_path)
    assert "somebody else" not in done.stderr
    latest = tmp_path / "out" / "latest"
    assert pq.read_table(latest / "predictions.parquet").num_rows == 3 * 24
    assert "<html" in (latest / "report.html").read_text()
    weights = call([installed / "fuseline", "weights", "list", "--json"], tmp_path)
    states = {row["name"]: row["state"] for row in orjson.loads(weights.stdout)}
    assert states["ssdlite_coco"] == states["dlib_face"] == "ok"
    assert not os.path.lexists(tmp_path / "models")
