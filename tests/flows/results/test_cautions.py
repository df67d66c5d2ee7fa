"""What is said of tiny and odd data: one clear line each, none of data as they should be."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from fuseline.flows.results.cautions import cautions
from fuseline.stores.schemas import STATISTICS
from tests.flows.conftest import Cli, document, make_data, settings, write_config, write_documents

SCORED = ("valid", "test")


def counted(**splits: list[str | None]) -> pa.Table:
    """Return STATISTICS rows of some documents, given their label, or None, by split."""
    rows = []
    for split, labels in splits.items():
        unlabelled, named = labels.count(None), Counter(label for label in labels if label is not None)
        found = [("documents", "documents", len(labels)), ("labels", "missing", unlabelled)]
        found += [(f"label:{label}", "documents", n) for label, n in named.items()]
        rows += [{"split": split, "field": f, "measure": m, "value": v, "source": ""} for f, m, v in found]
    return pa.Table.from_pylist(rows, schema=STATISTICS)


MANY: list[str | None] = ["a", "b"] * 100


@pytest.mark.parametrize(
    ("splits", "lines"),
    [
        ({"train": MANY, "valid": MANY, "test": MANY}, []),
        ({}, []),
        (
            {"train": MANY, "valid": MANY, "test": ["a"] * 3},
            ["few documents to judge by (3 in test): scores are uncertain by up to 56 points;"],
        ),
        (
            {"train": MANY, "valid": ["a", "b"], "test": ["a"] * 50},
            ["few documents to judge by (2 in valid, 50 in test): scores are uncertain by up to 66 points;"],
        ),
        ({"train": MANY, "test": MANY}, ["no document is in valid: models are ranked by what they reach on test, "]),
        ({"train": MANY, "valid": MANY}, ["no document is in test: no score is of documents that nothing was chosen"]),
        (
            {"train": MANY},
            ["no document is in valid: models have no score there", "no document is in test: models have no score"],
        ),
        (
            {"train": MANY, "valid": MANY, "test": [None] * 9},
            ["none of the 9 documents in test has a label: models have no score there"],
        ),
        (
            {"train": ["circle"] * 80, "valid": ["circle"] * 100, "test": ["circle"] * 100},
            ["there is one label alone, 'circle': every score is of a choice of one"],
        ),
        (
            {"train": [f"l{i}" for i in range(80)], "valid": MANY, "test": MANY},
            ["each of the 80 labels occurs once in train, which nothing can be learnt from;"],
        ),
        ({"train": [None] * 8 + ["a"], "valid": MANY, "test": MANY}, ["there is one label alone, 'a'"]),
    ],
)
def test_odd_data_get_one_line_each(splits: dict[str, list[str | None]], lines: list[str]) -> None:
    found = cautions(counted(**splits), scored=SCORED)
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True)), found


def test_three_test_documents_are_said_on_the_terminal_and_in_the_report(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_data(folder, 0)
    rows = [{**document(folder, n), "split": "test" if n < 3 else "train"} for n in range(20)]
    write_documents(folder, rows)
    values = {**settings(folder), "embed": {}, "quantize": {}, "models": {"text": {"kind": "text"}}}
    config = write_config(folder, values)
    for _ in range(2):  # the second finds nothing to do
        result = cli("run", config)
        assert result.exit_code == 0, result.output
        told = " ".join(result.output.split())
        assert "accuracy, %, on 0 valid, 3 test documents" in told
        assert "no document is in valid: models are ranked by what they reach on test" in told
        assert "few documents to judge by (3 in test): scores are uncertain by up to 56 points" in told
    page = (folder / "out" / "latest" / "report.html").read_text()
    assert "few documents to judge by (3 in test)" in page


def test_a_column_that_gives_the_label_away_is_said_in_every_run(cli: Cli, tmp_path: Path) -> None:
    rows = [
        f"d{n},{'red' if n % 3 else 'blue'} thing,{'ab'[n % 2]},code-{'ab'[n % 2]},{n * 37 % 11},train\n"
        for n in range(60)
    ]
    (tmp_path / "x.csv").write_text("id,text,label,code,size,split\n" + "".join(rows))
    options = {"tabular": {"code": "category", "size": "number"}}
    values = {
        "root": str(tmp_path / "out"),
        "source": {"reader": "csv", "path": str(tmp_path / "x.csv"), "options": options},
        "embed": {"columns": {"encoder": "tabular"}},
        "report": {"gallery": 0},
    }
    config = write_config(tmp_path, values)
    for _ in range(2):  # the second finds nothing to do
        result = cli("run", config)
        assert result.exit_code == 0, result.output
        told = " ".join(result.output.split())
        for way in ("determines the label", "follows from the label"):
            assert f"column cat_code {way} on 100.0% of 60 documents" in told
        assert "take code out of source.options.tabular" in told
        assert "num_size" not in told
    page = (tmp_path / "out" / "latest" / "report.html").read_text()
    assert "<h3>Columns that give the label away</h3>" in page
