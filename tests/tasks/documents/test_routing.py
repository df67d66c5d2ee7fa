"""Known documents stay where they are, new ones fill new shards, whatever the batches."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.stores.digests import cell_digests
from fuseline.stores.forgotten import Forgotten
from fuseline.tasks.documents import routing
from fuseline.tasks.documents.routing import HashSet, Known, Router, chosen_size, id_hashes, usable

hashes = st.lists(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1), max_size=12)


@given(st.lists(hashes, max_size=8), hashes)
def test_a_hash_set_is_a_set(batches, asked):
    found, truth = HashSet(), set()
    for batch in batches:
        found.add(np.array(batch, np.uint64))
        truth |= set(batch)
    assert found.has(np.array(asked, np.uint64)).tolist() == [value in truth for value in asked]


def test_a_hash_set_keeps_few_runs():
    found = HashSet()
    for start in range(0, 100_000, 100):
        found.add(np.arange(start, start + 100, dtype=np.uint64))
    assert len(found._runs) <= 12
    assert sum(len(run) for run in found._runs) == 100_000


def table(rows: list[tuple[str, str]]) -> pa.Table:
    return pa.table(
        {"id": pa.array([i for i, _ in rows], pa.string()), "text": pa.array([t for _, t in rows], pa.string())}
    )


def digests(rows: pa.Table) -> np.ndarray:
    return cell_digests(rows["text"])


def known_of(shards: list[list[tuple[str, str]]]) -> Known:
    tables = {}
    for index, rows in enumerate(shards):
        found = table(rows)
        cells = pa.array([cell.tobytes() for cell in digests(found)], pa.binary(16))
        tables[index] = found.append_column("d", cells)
    return Known.of(tables, "d")


def test_a_digest_that_differs_in_one_byte_is_of_another_content():
    before = known_of([[("a", "x"), ("b", "x")]])
    now = digests(table([("a", "x"), ("b", "x")])).copy()
    now[1, 15] ^= 1
    router = Router(before, 10)
    router.take(table([("a", "x"), ("b", "x")]), now)
    assert router.new_content(0)[0].tolist() == [1]


ids = st.sampled_from([f"i{n}" for n in range(12)])
sources = st.lists(st.tuples(ids, st.sampled_from("abc")), max_size=25)


@given(
    st.dictionaries(ids, st.sampled_from("abc"), max_size=9), sources, st.integers(1, 6), st.integers(1, 4), st.data()
)
def test_every_row_goes_to_exactly_one_place(before, source, batch, size, data):
    old = list(before.items())
    shards = [old[start : start + 3] for start in range(0, len(old), 3)]
    router, new, repeated = Router(known_of(shards), size), [], []
    for start in range(0, len(source), batch):
        part = table(source[start : start + batch])
        full, again = router.take(part, digests(part))
        new += [shard.to_pylist() for shard in full]
        repeated += again.to_pylist()
    rest = [shard.to_pylist() for shard in router.rest()]
    assert all(len(shard) == size for shard in new)
    assert len(rest) <= 1
    assert all(0 < len(shard) < size for shard in rest)
    first: dict[str, str] = {}
    for i, t in source:
        first.setdefault(i, t)
    fresh = [row for shard in new + rest for row in shard]
    assert fresh == [{"id": i, "text": t} for i, t in first.items() if i not in before]
    assert router.new_rows == len(fresh)
    assert router.repeated == len(repeated) == len(source) - len(first)
    changed = {}
    for shard in router.changed:
        numbers, content = router.new_content(shard)
        assert content is not None
        assert router.changed_rows(shard) == len(numbers) == len(content)
        changed |= {(shard, row): found for row, found in zip(numbers.tolist(), content.to_pylist(), strict=True)}
    places = {i: (n // 3, n % 3) for n, (i, _) in enumerate(old)}
    assert changed == {places[i]: {"id": i, "text": t} for i, t in first.items() if i in before and before[i] != t}
    gone = {(shard, row) for shard, rows in router.removed().items() for row in rows}
    assert gone == {places[i] for i in before if i not in first}


@pytest.mark.parametrize(
    ("documents", "workers", "largest", "size"),
    [
        (20, 2, 0, 64),  # a shard costs more than 20 documents do
        (2560, 2, 0, 320),  # eight shards for two workers
        (2561, 2, 0, 321),
        (2560, 16, 0, 64),
        (10**6, 2, 0, 4096),
        (2600, 2, 320, 325),
        (2600, 16, 320, 320),  # more workers came: what was chosen holds
        (10**6, 2, 64, 4096),  # a sample came first
    ],
)
def test_the_size_of_shards_is_chosen_by_documents_and_workers(documents, workers, largest, size):
    assert chosen_size(documents, workers=workers, largest=largest) == size


def routed(router: Router, n: int, batch: int) -> list[int]:
    """Return the rows of each shard of n new documents, as they leave."""
    sizes = []
    for start in range(0, n, batch):
        part = table([(f"n{i}", "x") for i in range(start, min(n, start + batch))])
        full, _ = router.take(part, digests(part))
        sizes += [shard.num_rows for shard in full]
    return [*sizes, *(shard.num_rows for shard in router.rest())]


def test_new_documents_are_held_back_until_their_number_is_known(monkeypatch):
    assert routed(Router(known_of([]), None, workers=2), 1000, 90) == [125] * 8
    monkeypatch.setattr(routing, "SHARD_ROWS", (10, 20))
    assert routed(Router(known_of([]), None, workers=2), 400, 7) == [20] * 20  # it may be as many as one likes
    monkeypatch.setattr(routing, "HELD_BYTES", 1)
    assert routed(Router(known_of([]), None, workers=2), 50, 7) == [10] * 5
    assert routed(Router(known_of([[(f"i{n}", "a") for n in range(15)]]), None, workers=2), 30, 30) == [15, 15]


def test_documents_that_take_much_room_are_not_held_back(monkeypatch):
    part = table([(f"n{i}", "x") for i in range(200)])
    assert list(Router(known_of([]), None, workers=2).take(part, digests(part))[0]) == []
    monkeypatch.setattr(routing, "HELD_BYTES", 1)
    shards = list(Router(known_of([]), None, workers=2).take(part, digests(part))[0])
    assert [shard.num_rows for shard in shards] == [64, 64, 64]


def test_the_size_of_new_shards_is_chosen_by_all_documents():
    before = known_of([[(f"i{n}", "a") for n in range(start, start + 100)] for start in range(0, 1000, 100)])
    assert routed(Router(before, None, workers=1), 600, 100) == [400, 200]


def test_a_zero_digest_counts_as_changed():
    found = table([("a", "x")]).append_column("d", pa.array([bytes(16)], pa.binary(16)))
    router = Router(Known.of({7: found}, "d"), 10)
    part = table([("a", "x")])
    list(router.take(part, digests(part))[0])
    assert list(router.changed) == [7]


def test_ids_hash_alike_in_any_chunk():
    whole = pa.chunked_array([pa.array(["a", "é", "a/b"])])
    parts = pa.chunked_array([pa.array(["a"]), pa.array(["x", "é", "a/b"]).slice(1)])
    assert np.array_equal(id_hashes(whole), id_hashes(parts))


def test_rows_without_an_id_are_parted():
    ids, states = ["a", None, "", " ", "b"], ["ok", "bad_row", "ok", "ok", "ok"]
    table = pa.table({"id": ids, "source": list("vwxyz"), "status": states, "n": [1, 2, 3, 4, 5]})
    good, bad = usable(table, Forgotten().with_ids(["b"]))
    assert good["n"].to_pylist() == [1, 4]
    assert bad["n"].to_pylist() == [2, 3, 5]
    assert bad["id"].to_pylist() == [None, "", None]
    assert bad["source"].to_pylist() == ["w", "x", ""]
    assert bad["status"].to_pylist() == ["bad_row", "ok", "forgotten"]
