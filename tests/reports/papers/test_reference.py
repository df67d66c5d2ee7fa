"""The published numbers add up to what the papers say of them."""

import pytest

from fuseline.reports.papers.published import (
    REFERENCE,
    accuracies,
    counts,
    minutes,
    neighbours,
    published_rows,
    reference,
)
from fuseline.tasks.readers import READERS


def test_every_row_is_whole_and_none_is_there_twice():
    table = reference()
    assert table.schema.equals(REFERENCE)
    keys = ("paper", "table", "row", "dataset", "split", "metric")
    rows = table.to_pylist()
    assert len({tuple(row[key] for key in keys) for row in rows}) == len(rows) == 441
    assert {paper: sum(row["paper"] == paper for row in rows) for paper in "KZPRM"} == {
        "K": 82, "Z": 115, "P": 15, "R": 179, "M": 50,
    }  # fmt: skip
    assert [len(published_rows("K", name)) for name in ("1", "2", "3", "4", "5", "text")] == [24, 30, 8, 3, 15, 2]
    assert all(row["value"] > 0 for row in rows if row["paper"] == "K")


def test_tables_of_other_papers_are_not_taken_for_those_of_this_one():
    """Papers R and M have a Table 3 too, and R's is about MM-IMDB."""
    assert {row["paper"] for row in reference().to_pylist() if row["table"] == "3"} >= {"K", "R", "M"}
    assert {row["dataset"] for row in published_rows("K", "3")} == {"flickrtag-1"}
    assert len(accuracies("mmimdb")) == 11
    assert minutes("mmimdb") == minutes("flickrtag") == minutes(None) == {}


def test_words_of_the_published_tokens():
    found = neighbours()
    assert list(found) == ["_q-_0_253", "_q-_0_13", "_q-_1_253"]
    assert found["_q-_0_253"][:2] == [("donuts", 0.987), ("doughnuts", 0.981)]
    assert [len(words) for words in found.values()] == [5, 5, 5]


def test_more_correct_documents_are_those_that_the_paper_counts():
    """2.7 points from FastText to RSPQ are 16,778 of the 621,444 test documents (K-36): 16,778.988, cut."""
    found = accuracies("flickrtag")
    gain = found["rspq"][1] - found["text"][1]
    assert gain == pytest.approx(2.7)
    assert int(gain / 100 * counts("flickrtag")["test", "documents"] + 1e-6) == 16_778


def test_flickrtag_1_is_about_a_tenth():
    whole, part = counts("flickrtag"), counts("flickrtag1")
    assert part["train", "documents"] / whole["train", "documents"] == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize("name", ["food101", "mmimdb", "flickrtag1"])
def test_the_findings_of_the_paper_hold_in_its_numbers(name):
    """Every multi-modal model beats text, text beats images, bilinear-gated is the best of the nine."""
    found = {kind: value for kind, (_, value, std) in accuracies(name).items() if std is not None}
    assert len(found) == 9
    assert max(found, key=lambda kind: found[kind]) == "bilinear_gated"
    assert sorted(found, key=lambda kind: found[kind])[:2] == ["image", "text"]
    assert found["rspq"] > found["pq"]


def test_references_have_no_deviation():
    assert "tfidf_linear" not in accuracies("food101")  # Wang et al. have images too
    assert accuracies("food101")["avg_tfidf"] == ("(Wang et al. 2015)", 85.1, None)
    assert accuracies("mmimdb")["gmu"] == ("(Arevalo et al. 2017)-GMU", 63.0, None)
    assert accuracies("mmimdb")["avg_probs"] == ("(Arevalo et al. 2017)-AVG", 61.5, None)
    assert accuracies("food101")["additive"] == ("Additive", 90.4, 0.1)
    assert accuracies(None) == {}


def test_times_are_forty_and_sixty_six_times_those_of_text():
    found = minutes("flickrtag1")
    assert (found["gated"] / found["text"], found["bilinear_gated"] / found["text"]) == (40, 66)
    assert sorted(found.values()) == [1, 1, 2, 39, 39, 40, 64, 66]


def test_splits_are_those_of_the_readers():
    for name in ("mmimdb",):
        known = READERS[name].published
        assert {split: counts(name)[split, "documents"] for split in ("train", "valid", "test")} == {
            split: known[split] for split in ("train", "valid", "test")
        }
    assert sum(counts("mmimdb")[split, "documents"] for split in ("train", "valid", "test")) == 25_959
