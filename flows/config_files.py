"""Configuration as plain values: YAML files, what they extend, and overrides of single values.

No error quotes the content of a file: anyone who may set a deployment's parameter could read the worker's files by it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fuseline.stores.errors import ConfigError, mismatch

# A folder that holds one of these is a project: configurations below it may extend one another.
PROJECT_FILES = ("prefect.yaml", "pyproject.toml", ".git")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings of a YAML file; raises ConfigError for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(mismatch("CONFIG", "a readable YAML file", str(path), f"{why}; check the path")) from error
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        cure = "see conf/demo.yaml for an example"
        raise ConfigError(mismatch(str(path), "a mapping of settings", type(values).__name__, cure))
    return values


def parse_yaml(text: str, what: str) -> object:
    """Return the plain values of a YAML text; raises ConfigError that says where it is wrong, not what stands there."""
    try:
        loader = yaml.SafeLoader(text)
        loader.deep_construct = True  # refuses a value that holds itself
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigError(mismatch(what, "YAML", f"a fault{where}", "check indentation, quotes and colons")) from None
    except yaml.YAMLError:
        raise ConfigError(mismatch(what, "YAML", "a character that YAML forbids", "write plain UTF-8 text")) from None
    except RecursionError:
        raise ConfigError(mismatch(what, "settings a few levels deep", "hundreds of levels", "flatten it")) from None
    except ValueError as error:  # an integer of thousands of digits, a date that does not exist
        raise ConfigError(mismatch(what, "YAML", "a value that is out of range", "put it in quotes")) from error


def parse_overrides(overrides: Sequence[str]) -> dict[str, object]:
    """Turn ["run.workers=1"] into {"run": {"workers": 1}}; values are YAML."""
    values: dict[str, Any] = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ConfigError(mismatch("--set", "key=value", override, "write for example --set run.workers=1"))
        values = merge(values, expanded({path: parse_yaml(text, f"--set {path}")}))
    return values


def expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn {"run.workers": 1} into {"run": {"workers": 1}}."""
    whole: dict[str, Any] = {}
    for path, value in values.items():
        inner = value
        for key in reversed(path.split(".")):
            inner = {key: inner}
        whole = merge(whole, inner)
    return whole


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over` on top, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def extended(values: dict[str, Any], folders: Sequence[Path], *, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return values on top of those of the file that they extend, which may extend another.

    Args:
        values: settings; `extends` in them is relative to the working directory.
        folders: where files may be extended, links followed.
        below: the files that led here.

    Raises:
        ConfigError: `extends` is no text, lies elsewhere, or leads back to itself.
    """
    name = values.get("extends")
    if name is None or name == "":
        return values
    if not isinstance(name, str) or "\0" in name:
        raise ConfigError(mismatch("extends", "the path of a YAML file", name, "name a file, or remove it"))
    path = Path(name)
    if path.resolve() in below:
        raise ConfigError(mismatch("extends", "a file that does not lead back to itself", str(path), "remove one"))
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
        cure = "move it there, or name it on the command line: --set extends=PATH"
        places = f"a file below {' or '.join(dict.fromkeys(map(str, folders)))}"
        raise ConfigError(mismatch("extends", places, str(path), cure))
    base = extended(relative_to(read_yaml(path), path.parent), folders, below=(*below, path.resolve()))
    return merge(base, {key: value for key, value in values.items() if key != "extends"})


def relative_to(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return values whose `extends`, when `folder` has such a file, is that file."""
    name = values.get("extends")
    if not isinstance(name, str) or "\0" in name or not (folder / name).exists():
        return values
    return {**values, "extends": str(folder / name)}


def folders_of(path: Path) -> Iterator[Path]:
    """Yield where a configuration may find files to extend: its folder, its project, the working directory."""
    folder = path.resolve().parent
    yield folder
    yield from (parent for parent in folder.parents if any((parent / name).exists() for name in PROJECT_FILES))
    yield Path.cwd()
