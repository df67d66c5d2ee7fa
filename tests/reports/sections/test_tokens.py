"""The sections about visual tokens, codebooks and costs: what is chosen, in which order."""

import pyarrow as pa

from fuseline.flows.results.tables import measure_table
from fuseline.reports.measures import Measures
from fuseline.reports.sections.codebooks import codebooks
from fuseline.reports.sections.costs import cost_rows
from fuseline.reports.sections.tokens import LEAST, SHOWN, token_cards
from fuseline.reports.standings import result_tables
from fuseline.stores.schemas import DRIFT, MODELS, RESULTS, TOKENS


def token(name: str, clarity: float | None, *words: str, model: str = "pq", n_train: int = 9, thumbnails=()):
    pairs = [{"word": word, "cosine": 0.9} for word in words]
    row = {"model": model, "token": name, "clarity": clarity, "coherence": clarity, "words": pairs}
    return {**row, "n_train": n_train, "n_documents": n_train + 1, "thumbnails": list(thumbnails)}


def table(*rows) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TOKENS)


def test_the_clearest_tokens_come_first_and_show_different_things():
    found = token_cards(
        table(
            token("dim", 0.2, "sun"),
            token("clear", 0.9, "cat", "dog"),
            token("same", 0.8, "dog", "fur"),
            token("other", 0.7, "fur", "dog"),
            token("rare", 0.95, "moon", n_train=LEAST - 1),
            token("unlearned", None),
        ),
        ranking=["pq"],
    )
    assert [card["token"] for card in found.cards] == ["clear", "other", "dim"]
    assert (found.model, found.tokens, found.learned) == ("pq", 6, 6)


def test_pictures_that_could_not_be_used_are_left_out():
    (card,) = token_cards(table(token("t", 0.5, "cat", thumbnails=[b"ab", None])), ranking=[]).cards
    assert card["uris"] == ["data:image/webp;base64,YWI="]


def test_the_tokens_are_those_of_the_best_model_that_has_any():
    rows = table(token("a", 0.5, "x"), token("b", 0.5, "x", model="rspq"))
    assert token_cards(rows, ranking=["additive", "rspq", "pq"]).model == "rspq"
    assert token_cards(rows, ranking=[]).model == "pq"
    assert token_cards(rows.slice(0, 0), ranking=["pq"]) is None
    assert token_cards(table(token("a", None)), ranking=["pq"]) is None


def test_no_more_cards_than_fit():
    rows = table(*(token(f"t{i}", 0.5, f"w{i}") for i in range(SHOWN + 9)))
    assert len(token_cards(rows, ranking=["pq"]).cards) == SHOWN


def test_a_codebook_is_its_parts():
    rows = [{"codebook": name, "part": part, "rows": 5} for name in ("rspq", "pq") for part in (0, 1)]
    found = codebooks(pa.Table.from_pylist(rows, schema=DRIFT))
    assert [(book.name, [row["part"] for row in book.parts]) for book in found] == [("pq", [0, 1]), ("rspq", [0, 1])]
    assert found[0].all["rows"] == 5
    assert codebooks(DRIFT.empty_table()) == []


def test_costs_stand_beside_the_score_and_the_baselines_time():
    scores = [("text", 0.5), ("pq", 0.75), ("gone", 0.9)]
    metrics = pa.Table.from_pylist(
        [{"model": m, "split": "test", "metric": "accuracy", "value": v, "n": 4} for m, v in scores], schema=RESULTS
    )
    models = pa.Table.from_pylist(
        [
            {"model": "new", "documents": 8},
            {"model": "text", "documents": 8, "seconds": 2.0},
            {"model": "pq", "documents": 8, "seconds": 3.0},
        ],
        schema=MODELS,
    )
    (results,) = result_tables(metrics, Measures(measure_table(), multi_label=False), baseline="text")
    models = models.to_pylist()
    rows = cost_rows(models, results, baseline="text")
    assert [(row["model"], row["score"], row["times"]) for row in rows] == [
        ("pq", 0.75, 1.5),
        ("text", 0.5, 1.0),
        ("new", None, None),
    ]
    assert [row["times"] for row in cost_rows(models, results, baseline="absent")] == [None] * 3
    assert cost_rows([], None, baseline="text") == []
