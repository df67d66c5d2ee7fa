"""Options of models written into a configuration file, whose comments and order stay."""

import io
import os
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.tokens import CommentToken
from ruamel.yaml.util import load_yaml_guess_indent

from fuseline.flows.config import Config, load_config
from fuseline.flows.config_files import parse_overrides
from fuseline.stores.atomic import atomic_file
from fuseline.stores.errors import ConfigError, mismatch

WIDTH = 1 << 20  # lines stay as long as they are
WRITABLE = 0o222  # permission of anybody


def check_appliable(path: Path, overrides: Sequence[str]) -> bytes:
    """Return the content of a configuration file that options of models may be written into.

    Raises ConfigError for a file that cannot be written, and for overrides of models: the file does not hold them.
    """
    if "models" in parse_overrides(overrides):
        cure = f"write it into {path} first"
        raise ConfigError(mismatch("--set models...", "none with --apply", [*overrides], cure))
    file = path.resolve()
    may = file.is_file() and os.access(file, os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)
    if not may or not file.stat().st_mode & WRITABLE:
        cure = "make it and its folder writable, or copy it to a place of yours"
        raise ConfigError(mismatch("CONFIG", "a file that can be written", str(path), cure))
    return file.read_bytes()


def write_options(
    path: Path, before: bytes, options: Mapping[str, Mapping[str, object]], *, wanted: Config, overrides: Sequence[str]
) -> None:
    """Replace a configuration file by one with these options of models; whole, or not at all. A link stays one.

    Args:
        path: the file.
        before: its content, as `check_appliable` returned it.
        options: model -> option -> value; other options of the model stay.
        wanted: the configuration that the new file must load to.
        overrides: what is laid over the file then.

    Raises:
        ConfigError: the file has changed meanwhile, or its text cannot be changed so that it loads to that.
    """
    file = path.resolve()
    if check_appliable(path, overrides) != before:
        cure = "the sweep is kept: call it again"
        raise ConfigError(mismatch("CONFIG", "the file as it was read", f"{path}, changed meanwhile", cure))
    with atomic_file(file) as partial:
        partial.write_bytes(edited(before, options))
        shutil.copymode(file, partial)
        if load_config(partial, overrides).model_dump(mode="json") != wanted.model_dump(mode="json"):
            cure = (
                f"write them by hand: {yaml.safe_dump(_plain(options), default_flow_style=True, width=WIDTH).strip()}"
            )
            raise ConfigError(mismatch(str(path), "a file that takes these options", "one that loads otherwise", cure))


def edited(content: bytes, options: Mapping[str, Mapping[str, object]]) -> bytes:
    """Return the YAML of a configuration with options of models set; raises ConfigError for keys that come twice."""
    text = content.decode("utf-8")
    try:
        _, indent, offset = load_yaml_guess_indent(text)
        editor = _editor(indent or 2, offset or 0, explicit=text.startswith("---"))
        values = editor.load(text)
    except MarkedYAMLError as error:
        got = "a fault" if (mark := error.problem_mark) is None else f"another in line {mark.line + 1}"
        raise ConfigError(mismatch("CONFIG", "YAML that names each key once", got, "correct it")) from None
    met = _met(values, {})
    models = _own(values, "models", met)
    if models.fa.flow_style():
        models.fa.set_block_style()
    for name, chosen in options.items():
        given = _own(_own(models, name, met), "options", met)
        for option, value in _nodes(chosen).items():
            _put(given, option, value)
    written = io.StringIO()
    editor.dump(values, written)
    ends = "\r\n" if b"\r\n" in content else "\n"
    return written.getvalue().replace("\n", ends).encode()


def _own(parent: CommentedMap, key: str, met: Mapping[int, tuple[int, CommentedMap]]) -> CommentedMap:
    """Return the mapping under a key, made where there is none; one that others share by an anchor becomes a copy."""
    inner = parent.get(key)
    if not isinstance(inner, CommentedMap):
        own = CommentedMap()
        own.fa.set_flow_style()
        _put(parent, key, own)
        return own
    if met.get(id(inner), (1, inner))[0] > 1:
        parent[key] = inner = deepcopy(inner)
        inner.yaml_set_anchor(None)
    return inner


def _met(values: CommentedMap, met: dict[int, tuple[int, CommentedMap]]) -> dict[int, tuple[int, CommentedMap]]:
    """Count how often mappings are met, by id; they are kept, so that no other gets their id."""
    for inner in values.values():
        if isinstance(inner, CommentedMap):
            before, _ = met.get(id(inner), (0, inner))
            met[id(inner)] = (before + 1, inner)
            if not before:
                _met(inner, met)
    return met


def _put(mapping: CommentedMap, key: str, value: object) -> None:
    """Set a key; a new one comes last, and the comment lines that follow the mapping follow it then."""
    holder, last = mapping, next(reversed(mapping), None)
    while last is not None and isinstance(inner := holder[last], CommentedMap) and inner and not inner.fa.flow_style():
        holder, last = inner, next(reversed(inner))
    new, comment = key not in mapping, None if last is None else holder.ca.items.get(last, [None] * 4)[2]
    mapping[key] = value
    if new and comment is not None:
        beside, _, below = comment.value.partition("\n")
        if beside:
            comment.value = f"{beside}\n"
        else:
            del holder.ca.items[last]
        if below:
            mapping.ca.items[key] = [None, None, CommentToken(f"\n{below}", comment.start_mark), None]


def _nodes(options: Mapping[str, object]) -> CommentedMap:
    """Return options as they are written, so that every reader of YAML takes 1e-05 for a number."""
    nodes: CommentedMap = _editor(2, 0, explicit=False).load(
        yaml.safe_dump(_plain(options), sort_keys=False, default_flow_style=True, width=WIDTH)
    )
    return nodes


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _editor(indent: int, offset: int, *, explicit: bool) -> YAML:
    editor = YAML()
    editor.preserve_quotes, editor.width, editor.explicit_start = True, WIDTH, explicit
    editor.indent(mapping=indent, sequence=indent, offset=offset)
    return editor
