"""Which columns give the label away, and which only look like it."""

import numpy as np
import pyarrow as pa
import pytest

from fuseline.tasks.evaluation import label_leaks
from fuseline.tasks.evaluation.label_leaks import LeaksConfig, find_leaks

N = 1000
RNG = np.random.default_rng(0)
LABELS = [f"l{n % 10}" for n in range(N)]
NOISE = RNG.integers(0, 5, N)


def ways(values: list[object], labels: list[str | None] = [*LABELS]) -> list[str]:  # noqa: B006
    table = pa.table({"labels": [[] if one is None else [one] for one in labels], "x": values})
    return label_leaks.label_leaks(table, ["x"])["way"].to_pylist()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([f"code-{label}" for label in LABELS], ["determines", "follows"]),
        ([float(label[1]) for label in LABELS], ["determines", "follows"]),
        ([f"{label}/{noise}" for label, noise in zip(LABELS, NOISE, strict=True)], ["determines"]),  # a finer label
        ([label in ("l0", "l1") for label in LABELS], ["follows"]),  # a coarser one
        ([None if label == "l0" else "x" for label in LABELS], ["follows"]),  # missing is a value
        (["?" if n < 9 else label for n, label in enumerate(LABELS)], ["determines", "follows"]),
        (["?" if n < 20 else label for n, label in enumerate(LABELS)], []),
        ([f"id{n}" for n in range(N)], []),
        ([float(n) for n in range(N)], []),
        (["same"] * N, []),
        ([None] * N, []),
        (["rare" if n < 5 else "same" for n in range(N)], []),
        ([int(one) for one in NOISE], []),
    ],
    ids=["code", "number", "finer", "coarser", "missing", "nearly", "not nearly", "id", "measure", "constant", "empty",
         "nearly constant", "noise"],
)  # fmt: skip
def test_a_column_that_tells_the_label_is_found(values: list[object], found: list[str]) -> None:
    assert ways(values) == found


def test_nothing_tells_a_label_that_nearly_all_have() -> None:
    assert ways([int(one) for one in NOISE], ["a"] * (N - 5) + ["b"] * 5) == []
    assert ways([int(one) for one in NOISE], ["a"] * N) == []


def test_documents_without_a_label_do_not_count_nor_do_few_prove_anything() -> None:
    labels = [label if n < 100 else None for n, label in enumerate(LABELS)]
    values = [label if n < 100 else "z" for n, label in enumerate(LABELS)]
    assert ways(values, labels) == ["determines", "follows"]
    assert ways(LABELS[:40], LABELS[:40]) == []


def test_of_very_many_documents_some_are_looked_at_whatever_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_leaks, "MOST", 200)
    table = pa.table(
        {"id": [f"d{n}" for n in range(N)], "labels": [[label] for label in LABELS], "cat_x": LABELS, "num_y": NOISE}
    )

    def found(tables: list[pa.Table]) -> list[dict[str, object]]:
        return find_leaks(lambda: iter([[one] for one in tables]), LeaksConfig(), None)["leaks"].to_pylist()  # type: ignore[arg-type]

    shards = [table.slice(start, 300) for start in range(0, N, 300)]
    assert [(row["column"], row["documents"]) for row in found(shards)] == [("cat_x", 200)] * 2
    assert found(shards) == found(shards[::-1])
    assert find_leaks(lambda: iter([]), LeaksConfig(), None)["leaks"].num_rows == 0  # type: ignore[arg-type]
