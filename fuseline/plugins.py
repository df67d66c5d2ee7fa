"""Registries, and what installed packages add to them by the entry-point group `fuseline.plugins`.

An entry point names a module, and importing that module calls `register`. The modules are imported when a registry is
first read, not before. This module imports none of ours, so that every room may hold a registry.
"""

import threading
from collections.abc import Iterator, Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, NamedTuple, Protocol, TypeVar, cast

GROUP = "fuseline.plugins"
T = TypeVar("T")


class PluginError(ImportError):
    """An installed package cannot be loaded, or registers what is taken or lacks a part; the message says which."""


class Named(Protocol):
    """What any registry holds: a value or a class with its name there."""

    @property
    def kind(self) -> str:
        """Its name in the registry."""


class Added(NamedTuple):
    """What a package registered."""

    thing: Named  # `register` looks for the rest that its registry needs
    origin: str  # where it comes from, for messages


# What is registered -> the attributes that it needs; a registry of each is in the package that uses it.
NEEDS = {
    "reader": ("kind", "summary", "options", "read", "files"),
    "stage": ("kind", "summary", "Config", "node"),
    "encoder": ("kind", "summary", "origin", "Config", "modality"),
    "detector": ("kind", "summary", "origin", "Config", "finds"),
    "quantizer": ("kind", "summary", "Config", "fit", "encode", "save", "load"),
    "model": ("kind", "summary", "Config", "inputs", "fit", "predict_logits", "save", "load"),
    "metric": ("kind", "summary", "value"),
    "place": ("kind", "summary", "get", "put", "put_if_absent", "list", "delete", "stat"),
    "section": ("kind", "title", "summary", "reads", "render"),
}
_ADDED: dict[str, list[Added]] = {what: [] for what in NEEDS}
_lock = threading.RLock()
_progress = {"state": "unread", "plugin": ""}


def register(what: str, *things: object) -> None:
    """Add things to a registry, each under its `kind`.

    Args:
        what: reader, stage, encoder, detector, quantizer, model, metric, place or section (of the report).
        things: classes; readers, metrics and sections are values.

    Raises:
        PluginError: there is no such registry, or a thing lacks an attribute.
    """
    origin = _progress["plugin"] or "this process"
    if what not in NEEDS:
        raise PluginError(f"register: expected one of {sorted(NEEDS)!r}, got {what!r} from {origin}; correct it there")
    for thing in things:
        if missing := [name for name in NEEDS[what] if not hasattr(thing, name)]:
            named = getattr(thing, "__name__", repr(thing))
            raise PluginError(f"{what} {named} of {origin}: expected {list(NEEDS[what])!r}, got none of {missing!r}; "
                              "add them")  # fmt: skip
        _ADDED[what].append(Added(cast(Named, thing), origin))


class Registry(MutableMapping[str, T], Generic[T]):
    """Name -> thing: ours, then what installed packages registered; iterated in this order.

    Reading it raises PluginError when a package cannot be loaded, or registers a name that is taken.
    """

    def __init__(self, what: str, ours: Mapping[str, T]) -> None:
        self.what = what
        self._things = dict(ours)
        self._taken = 0  # of those that were registered

    def __getitem__(self, name: str) -> T:
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __setitem__(self, name: str, thing: T) -> None:
        self._whole()[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._whole()[name]

    def _whole(self) -> dict[str, T]:
        load_plugins()
        added = _ADDED[self.what]
        while self._taken < len(added):
            thing, origin = added[self._taken]
            if self._things.get(thing.kind, thing) is not thing:
                cure = "uninstall it, or have it renamed"
                raise PluginError(f"{self.what}: expected a name that is not taken, got {thing.kind!r} from {origin}; "
                                  f"{cure}")  # fmt: skip
            self._things[thing.kind] = cast(T, thing)
            self._taken += 1
        return self._things


def load_plugins() -> None:
    """Import the modules that installed packages name, once per process; raises PluginError."""
    if _progress["state"] != "unread":  # while they are imported, they may read registries themselves
        return
    with _lock:
        if _progress["state"] != "unread":
            return
        _progress["state"] = "loading"
        try:
            for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
                _progress["plugin"] = f"plugin {point.name} ({point.value})"
                _load(point)
        except PluginError:
            _progress["state"] = "unread"
            raise
        finally:
            _progress["plugin"] = ""
        _progress["state"] = "loaded"


def _load(point: EntryPoint) -> None:
    try:
        point.load()
    except PluginError:
        raise
    except Exception as error:  # a stranger's module may raise anything
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"{_progress['plugin']}: expected a module that can be imported, got {why}; correct it, or "
                          "uninstall it") from error  # fmt: skip
