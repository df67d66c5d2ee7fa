"""What a configuration needs of this machine, and what of it is missing."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fuseline.flows.cli.choices import wanted_networks
from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.plan_options import check_devices
from fuseline.models.weights_table import weights_rows
from fuseline.stores.errors import FuselineError, mismatch
from fuseline.stores.redaction import redacted
from fuseline.tasks.readers import READERS, looks_for
from fuseline.tasks.readers.places import source_names

Row = dict[str, str]
VECTORS = "pretrained_vectors"


def needs(config: Config) -> list[Row]:
    """Return one row of name, state and detail for the settings, the source, each network and the devices.

    The state is "ok", "missing" or "wrong"; the detail is what was found, or what to do. Every weight file that is
    there is read once. Devices are looked at when nothing is missing.
    """
    rows = [
        {"name": "settings", "state": "ok", "detail": f"digest {config.digest}"},
        _checked("source", lambda: _source(config)),
        *(_checked(f"models.{name}.options.{VECTORS}", partial(_file, path)) for name, path in _vectors(config)),
        *({key: row[key] for key in ("name", "state", "detail")} for row in weights_rows(wanted_networks(config))),
    ]
    return rows if faults(rows[2:]) else [*rows, _checked("stages", lambda: _stages(config))]


def faults(rows: list[Row]) -> list[Row]:
    """Return the rows of what is missing or wrong."""
    return [row for row in rows if row["state"] != "ok"]


def _checked(name: str, check: Callable[[], str]) -> Row:
    try:
        return {"name": name, "state": "ok", "detail": redacted(check())}
    except FileNotFoundError as error:
        return {"name": name, "state": "missing", "detail": redacted(str(error))}
    except FuselineError as error:
        return {"name": name, "state": "wrong", "detail": str(error)}


def _stages(config: Config) -> str:
    """Return how many stages there are; raises FuselineError when one names a device that is not here."""
    nodes = build(config)
    if config.run.executor == "local":
        check_devices(nodes)
    return f"{len(nodes)}, the devices that they name are here"


def _vectors(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield the models that start from a file of word vectors, and that file."""
    for name, model in config.models.items():
        if isinstance(path := getattr(model.parsed(), VECTORS, None), Path):
            yield name, path


def _file(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(mismatch(VECTORS, "a file of word vectors", str(path), "check the path"))
    return str(path)


def _source(config: Config) -> str:
    """Return the first file that the reader finds; raises FuselineError for what lies elsewhere."""
    source = config.source
    options = source.parsed()
    files: Iterator[str] = (file.uri for file in READERS[source.reader].files(source.path, options))
    if (first := next(files, None)) is None:
        wanted, there = looks_for(source.reader, options), source_names(source.path, 5)
        raise FileNotFoundError(mismatch(f"source {source.path}", wanted, there, f"check reader {source.reader}"))
    return f"{source.path}: {first} and what follows"
