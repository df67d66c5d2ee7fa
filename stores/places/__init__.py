"""Where stored bytes may lie: one file per kind of place; the only module where a new one of ours is listed."""

from pathlib import Path

from fuseline.plugins import Registry
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.places.local import LocalRoot
from fuseline.stores.places.memory import MemoryRoot
from fuseline.stores.root import Root

OURS: tuple[type[Root], ...] = (LocalRoot, MemoryRoot)
PLACES: Registry[type[Root]] = Registry("place", {place.kind: place for place in OURS})


def open_root(address: str | Path) -> Root:
    """Return the place of an address, a path or KIND://...; nothing is made there yet. Raises ConfigError."""
    kind, mark, _ = str(address).partition("://")
    if not mark:
        return LocalRoot(str(Path(address)))
    if kind not in PLACES:
        known = f"a path or one of {', '.join(f'{name}://' for name in sorted(PLACES))}"
        raise ConfigError(mismatch("root", known, f"{kind}://", "choose one of these, or install a place of that name"))
    return PLACES[kind](str(address))


def registry_rows() -> list[dict[str, str]]:
    """Return one {name, summary, weights} per place, sorted by name."""
    return [{"name": name, "summary": place.summary, "weights": ""} for name, place in sorted(PLACES.items())]
