"""`fuseline init`: a first configuration out of data, decided or asked."""

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fuseline.flows.cli import beginning
from fuseline.flows.cli.app import app
from fuseline.flows.cli.estimates import DATASET, Extent, duration, estimates, size
from fuseline.flows.cli.starting import _codewords
from fuseline.flows.config import load_config, parse_config
from tests.fixtures.layouts_archives import add
from tests.fixtures.pieces import JPEGS
from tests.flows.conftest import Cli


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a table beside a tar of its images; `shelf` gives the label away."""
    rows = [f"s{n},thing {n},{n % 3}.jpg,{'ab'[n % 2]},{n * 7 % 13},shelf-{'ab'[n % 2]}\n" for n in range(60)]
    (tmp_path / "goods").mkdir()
    (tmp_path / "goods" / "goods.csv").write_text("sku,caption,photo,category,price,shelf\n" + "".join(rows))
    with tarfile.open(tmp_path / "goods" / "images.tar", "w") as archive:
        for n in range(3):
            add(archive, f"{n}.jpg", JPEGS[n])
    return tmp_path / "goods"


def test_it_decides_where_nobody_can_be_asked(cli: Cli, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "conf" / "goods.yaml"
    result = cli("init", data, "-o", file)
    assert result.exit_code == 0, result.output
    values = yaml.safe_load(file.read_text())
    assert values["source"]["options"] == {
        "columns": {"id": "sku", "text": "caption", "image": "photo", "labels": "category"},
        "images": {"archive": "images.tar"},
    }
    assert values["models"] == {"preset": "fast"}
    # 256 codewords, the default, need as many images to be learnt from: such a run ended in an error.
    assert values["quantize"] == {"pq": {"quantizer": "pq", "embedding": "image", "options": {"codewords": 16}}}
    assert set(load_config(file).models) == {"text", "image", "additive", "pq"}
    assert cli("config", "check", file).exit_code == 0
    text = file.read_text()
    assert "      labels: category  # by its name; 2 different, in 60 of the first 60 rows\n" in text
    assert "      image: photo  # by its name; it names members of images.tar\n" in text
    assert "# tabular: {price: number}" in text
    leak = "column shelf determines the label on 100.0% of 60 documents and column shelf follows from the label"
    assert leak in text
    assert "60 documents: left out of tabular\n" in text
    assert "  reader: csv  # the first that reads it;" in text
    assert f"warning: {leak}" in result.stderr
    assert "plan for 60 documents, time and disk roughly estimated" in result.stdout
    assert result.stdout.splitlines()[-1].endswith(f"then: fuseline config check {file}")


def test_names_of_splits_that_mean_nothing_are_told_at_once(cli: Cli, tmp_path: Path) -> None:
    rows = [f"d{n},words {n},{'ab'[n % 2]},{('train', 'train', 'holdout', 'valid')[n % 4]}\n" for n in range(40)]
    (tmp_path / "odd.csv").write_text("id,text,label,split\n" + "".join(rows))
    result = cli("init", tmp_path / "odd.csv", "-o", tmp_path / "odd.yaml")
    assert result.exit_code == 0, result.output
    said = "10 of 40 documents name a split other than train, valid and test; say what their names mean"
    assert f"warning: {said}: splits in source.options" in result.stderr
    text = (tmp_path / "odd.yaml").read_text()
    assert f"    # splits: {{holdout: test}}  # {said}\n" in text
    (tmp_path / "odd.yaml").write_text(text.replace("    # splits: {holdout: test}", "    splits: {holdout: test}"))
    assert load_config(tmp_path / "odd.yaml").source.options["splits"] == {"holdout": "test"}


def test_it_asks_on_a_terminal_with_what_was_found_as_defaults(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "on_terminal", lambda: True)
    file = tmp_path / "goods.yaml"
    answers = "shelves\nshelf\n\nsku\n\n\n-\n\n\n\n"  # the first is no column; then labels, id, title, description, ...
    result = CliRunner().invoke(app, ["init", str(data), "-o", str(file)], input=answers)
    assert result.exit_code == 0, result.output
    assert result.output.count("columns: sku, caption, photo, category, price, shelf\n") == 1
    assert "column of labels (- for none) [category]" in result.output
    assert "expected one of sku, caption, photo, category, price, shelf, got 'shelves'" in result.output
    columns = yaml.safe_load(file.read_text())["source"]["options"]["columns"]
    assert columns == {"id": "sku", "title": "sku", "text": "caption", "image": "photo", "labels": "shelf"}
    assert "labels: shelf  # as answered;" in file.read_text()


def test_the_file_is_named_after_the_data_and_never_replaced(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("init", "goods/goods.csv").exit_code == 0
    assert load_config(tmp_path / "goods.yaml").source.reader == "csv"
    refused = cli("init", "goods/goods.csv")
    assert refused.exit_code == 2
    assert "--output: expected 'a file that is not there yet', got 'goods.yaml'" in refused.stderr


def test_the_old_spelling_answers_with_the_new_one(cli: Cli) -> None:
    old = cli("config", "init", "x.csv", "-o", "y.yaml")
    assert (old.exit_code, old.stdout) == (2, "")
    assert "expected 'fuseline init x.csv -o y.yaml'" in old.stderr
    assert "init" not in cli("config", "--help").output
    assert "Example: fuseline init " in cli("init", "--help").output


def test_an_estimate_grows_with_the_documents_and_their_images() -> None:
    config = parse_config({"embed": {"image": {"encoder": "efficientnet_lite2"}}, "models": {"preset": "fast"}})
    few, many, bare = (
        {row.stage: row for row in estimates(config, Extent(n, images))}
        for n, images in ((1000, 1000), (10_000, 10_000), (1000, 0))
    )
    assert list(few) == ["start", "ingest", "clean", "embed", "train", "predict", "evaluate"]
    assert few["start"] == many["start"] == bare["start"]
    for stage, row in few.items():
        apart = DATASET * row.datasets
        if stage not in ("start", "train"):
            assert many[stage].seconds - apart == pytest.approx(10 * (row.seconds - apart))
    assert few["embed"].seconds == pytest.approx(DATASET + 1000 / 38 / 2)
    assert bare["embed"].seconds == DATASET
    assert bare["embed"].size == 0
    assert many["train"].size == few["train"].size > 0


def seconds(options: dict[str, Any], **extent: Any) -> float:
    """Return what the fit of one model may take."""
    config = parse_config({"models": {"text": {"kind": "text", "options": options}}})
    (row,) = (
        row for row in estimates(config, Extent(**{"documents": 10_000, "images": 0, **extent})) if row.stage == "train"
    )
    return row.seconds - DATASET


def test_the_estimate_of_a_fit_knows_what_is_to_be_chosen() -> None:
    given = {"preset": "fasttext", "lr": 0.1, "epochs": 20, "dim": 57}
    assert seconds({}) > 20 * seconds(given) > 0
    few, many = (seconds({}, documents=1000, words=n) for n in (20, 200))
    assert many > 3 * few
    assert seconds({}, labelled=0.1) < 0.3 * seconds({})
    # At most 50,000 documents choose; what is left grows with the documents.
    few, many = (seconds({}, documents=n) for n in (100_000, 200_000))
    assert few < many < 1.5 * few


@pytest.mark.parametrize(("images", "codewords"), [(0, 2), (289, 64), (731, 128), (732, None), (10**6, None)])
def test_a_codebook_has_words_for_the_images_there_are(images: int, codewords: int | None) -> None:
    assert _codewords(images) == ({} if codewords is None else {"options": {"codewords": codewords}})


def test_durations_and_sizes_are_rough() -> None:
    told = [duration(0), duration(119), duration(120), duration(9000), duration(86400 * 3)]
    assert told == ["1 s", "119 s", "2 minutes", "2 hours", "3 days"]
    assert [size(0), size(5), size(2_600_000), size(7_000_000_000)] == ["-", "1 MB", "3 MB", "7 GB"]
