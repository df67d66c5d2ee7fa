"""Several sweeps joined into the tables of the paper that they repeat."""

from collections import Counter
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from fuseline.flows.experiments.trials import FOLDER, STUDY
from fuseline.flows.results.tables import measure_table
from fuseline.reports.papers.kiela_data import PaperData, StudyFacts
from fuseline.reports.papers.kiela_joined import cell_table, render_joined, verdict_table
from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.stores.layouts.parquet import get_table, put_table
from fuseline.stores.places import open_root
from fuseline.stores.root import Root

AGAIN = "run its `fuseline sweep` again: what is trained stays, the tables are written anew"
# Tables of a sweep that are joined, by the name that PaperData has for them.
TABLES = {name: name for name in ("data", "scores", "times", "varied", "tokens")} | {"results": "metrics"}


def read_studies(roots: Sequence[str]) -> list[PaperData]:
    """Return what the sweeps under some roots found; raises DataError for a root without one."""
    studies = [_study(open_root(root)) for root in roots]
    (name, count), *_ = Counter(study.title for study in studies).most_common()
    if count > 1:
        raise ConfigError(mismatch("roots", "sweeps of different names", [name] * count, "give each once"))
    return studies


def write_joined(studies: list[PaperData], folder: str) -> str:
    """Write cells.parquet, claims.parquet and report.html to a folder; return the page's path."""
    root = open_root(folder)
    put_table(root, "cells.parquet", cell_table(studies))
    put_table(root, "claims.parquet", verdict_table(studies))
    root.put("report.html", render_joined(studies).encode())
    return root.uri("report.html")


def _study(root: Root) -> PaperData:
    what = root.uri(FOLDER)
    if not root.exists(STUDY):
        raise DataError(mismatch(what, "the tables of a sweep", f"no {STUDY}", AGAIN))
    try:
        facts = TypeAdapter(StudyFacts).validate_json(root.get(STUDY))
        tables = {own: get_table(root, f"{FOLDER}/{name}.parquet") for own, name in TABLES.items()}
    except (ValidationError, FileNotFoundError) as error:
        raise DataError(mismatch(what, "the tables of a sweep", type(error).__name__, AGAIN)) from error
    return PaperData(**vars(facts), **tables, measures=measure_table())
