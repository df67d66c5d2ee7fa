"""Who may import whom, how long things are, and what is never called."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "stores", "models", "reports")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MODULES += sorted((ROOT / "fuseline").glob("*.py"))
MAX_MODULE, MAX_FUNCTION = 400, 60
FORBIDDEN = {
    "pickle": re.compile(r"^\s*(import|from)\s+(pickle|cPickle|dill|joblib)\b|\bpickle\.loads?\(", re.MULTILINE),
    "yaml.load": re.compile(r"\byaml\.(unsafe_)?load\("),
    "allow_pickle": re.compile(r"allow_pickle\s*=\s*True"),
    "weights_only": re.compile(r"weights_only\s*=\s*False"),
    "bare except": re.compile(r"^\s*except\s*:", re.MULTILINE),
    "eval": re.compile(r"(?<![\w.])(eval|exec)\("),
}

# Names that the working directory happens to offer: a wheel does not hold them, and a module would be there twice.
NAMED = "|".join(PACKAGES)
BARE = re.compile(
    rf"\bfrom (?:{NAMED})(?:\.\w+)* import\b"
    rf"|(?:^|;|[\"'(]|\\n|, )\s*import (?:{NAMED})(?![\w-])"
    rf"|-m[\s\"',]+(?:{NAMED})(?=[.\s\"'])",
    re.MULTILINE,
)
QUOTED = re.compile(rf"[\"'`]((?:{NAMED})(?:\.\w+)+)")
TEXTS = sorted(
    path
    for folder in (*PACKAGES, "tests", "bench", "docs", "examples", "conf", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".yaml", ""} and path.is_file()
) + [ROOT / name for name in ("prefect.yaml", "Makefile", "README.md", "pyproject.toml", ".pre-commit-config.yaml")]

modules = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())


def test_imports_go_one_way():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def bare_names(text: str) -> list[str]:
    """Return the places where a text imports one of our packages by its folder's name."""
    quoted = [name for name in QUOTED.findall(text) if is_module(name)]
    return [match.group().strip() for match in BARE.finditer(text)] + quoted


def is_module(name: str) -> bool:
    """Return whether the first two words of a dotted name are a package and a module of ours."""
    package, module, *_ = name.split(".")
    return (ROOT / package / module).is_dir() or (ROOT / package / f"{module}.py").is_file()


def test_nothing_is_imported_by_the_name_of_its_folder():
    found = {path.relative_to(ROOT).as_posix(): bare_names(path.read_text("utf-8", "ignore")) for path in TEXTS}
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        ("import {}", True),
        ("    import {}.config as config", True),
        ("import os, {}", False),  # ruff splits these
        ("from {} import x", True),
        ("from {}.encoders.base import x", True),
        ("script = 'import sys; import {}.config'", True),
        ('subprocess.run([sys.executable, "-m", "{}.classifiers"])', True),
        ("$(BIN)/python -m {}.classifiers --help", True),
        ('monkeypatch.setattr("{}.config.runtime_option", None)', True),
        ("from fuseline.{} import x", False),
        ("import fuseline.{}.config", False),
        ('monkeypatch.setattr("fuseline.{}.config.runtime_option", None)', False),
        ("python -m fuseline.{}.config", False),
        ("what is read from {} counts; none may import {}", False),
        ('"{}.text.options.lr=0.2"', False),
        ("yield from {}", False),
    ],
)
def test_a_folder_s_name_is_told_from_a_module_s(line, bare):
    assert bool(bare_names(line.replace("{}", "models"))) is bare


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@modules
def test_modules_and_functions_stay_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_MODULE
    long = [
        f"{f.name}: {f.end_lineno - f.lineno + 1}" for f in functions(path) if f.end_lineno - f.lineno >= MAX_FUNCTION
    ]
    assert long == []


@modules
def test_what_is_public_says_what_it_does(path):
    module = tree(path)
    # A method that overrides another has its docstring.
    classes = [n for n in module.body if isinstance(n, ast.ClassDef) and n.name[0] != "_" and not inherits(n)]
    public = [n for owner in (module, *classes) for n in owner.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    missing = [n.name for n in public if not n.name.startswith("_") and not ast.get_docstring(n)]
    assert missing == []
    assert not module.body or ast.get_docstring(module)


def inherits(owner: ast.ClassDef) -> bool:
    return any(ast.unparse(base) not in {"Protocol", "NamedTuple", "ABC", "FrozenConfig"} for base in owner.bases)


@modules
def test_nothing_unsafe_is_called(path):
    text = path.read_text("utf-8")
    assert [name for name, pattern in FORBIDDEN.items() if pattern.search(text)] == []


def test_planning_does_not_import_heavy_libraries():
    heavy = ("torch", "lightgbm", "sentence_transformers", "onnxruntime", "faiss")
    planning = "fuseline.tasks.engine.planner, fuseline.tasks.engine.nodes"
    script = f"import sys, {planning}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PARSING = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "rsplit"}


def parsed_names(module: ast.Module) -> list[str]:
    """Return the calls that take the name of a node or of a stage apart at its slash."""
    calls = [n for n in ast.walk(module) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    return [ast.unparse(n) for n in calls if n.func.attr in PARSING and is_dataset_name(n.func.value) and slashed(n)]


def is_dataset_name(value: ast.expr) -> bool:
    if isinstance(value, ast.Name):
        return value.id == "stage"
    return isinstance(value, ast.Attribute) and value.attr in {"name", "stage", "label"}


def slashed(call: ast.Call) -> bool:
    return any(isinstance(n, ast.Constant) and "/" in str(n.value) for one in call.args for n in ast.walk(one))


@modules
def test_names_of_datasets_are_not_parsed(path):
    """A node says its role, and a manifest its kind: what is found by the text of a name breaks when it changes."""
    if "readers" not in path.parts:  # which read names of files
        assert parsed_names(tree(path)) == []


def test_a_parsed_name_is_found_however_it_is_written():
    for text in (
        'node.name.startswith("models/")', 'read.node.name.partition("/")', 'x.manifest.stage.startswith(("a/", "b/"))',
        'fit.name.removeprefix(f"{MODELS}/")', 'stage.split("/")',
    ):  # fmt: skip
        assert parsed_names(ast.parse(text)), text
    for text in ('path.name.startswith(".")', 'column.name.startswith("num_")', 'url.partition("://")'):
        assert not parsed_names(ast.parse(text)), text


def joined_paths(module: ast.Module) -> list[str]:
    """Return where a module puts a path to stored bytes together, or takes the root as a path."""
    joins = [n for n in ast.walk(module) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div) and is_root(n.left)]
    arguments = [n for n in ast.walk(module) if isinstance(n, ast.arg | ast.AnnAssign) and n.annotation is not None]
    paths = [n for n in arguments if root_name(n) and "Path" in ast.unparse(n.annotation)]
    return [ast.unparse(n) for n in (*joins, *paths)]


def is_root(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value) in {"Path(config.root)", "Path(settings.root)"}
    return isinstance(value, ast.Name | ast.Attribute) and root_name(value)


def root_name(node: ast.AST) -> bool:
    name = getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "arg", None)
    return name == "root" or (isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "root")


@modules
def test_nothing_above_stores_joins_paths_to_stored_bytes(path):
    if path.relative_to(ROOT).parts[0] in ("flows", "tasks", "reports") and "readers" not in path.parts:
        assert joined_paths(tree(path)) == []


def test_a_joined_path_is_found_however_it_is_written():
    for text in ("x = root / 'latest'", "x = grid.root / name", "x = Path(config.root) / 'runs'",
                 "def f(root: Path) -> None: ...", "class A:\n    root: Path | None"):  # fmt: skip
        assert joined_paths(ast.parse(text)), text
    for text in ("x = root.uri('latest')", "x = folder / 'model.json'", "def f(root: Root) -> None: ..."):
        assert not joined_paths(ast.parse(text)), text
