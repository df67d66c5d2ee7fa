"""Kills and edits in any order end like one undisturbed ingest."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from drive import Source, content, documents, nodes, run
from faults import Killed, failing
from hypothesis import given, settings
from hypothesis import strategies as st

from fuseline.stores.places import open_root

crashes = (st.integers(1, 120), st.booleans(), st.sampled_from(["first", "edit"]))


@settings(max_examples=8)
@given(*crashes)
def test_a_killed_ingest_goes_on_without_loss_or_repetition(calls, after, when):
    check_killed(calls, after, when)


@pytest.mark.slow
@settings(max_examples=200)
@given(*crashes)
def test_a_killed_ingest_goes_on_whenever_it_is_killed(calls, after, when):
    check_killed(calls, after, when)


def check_killed(calls: int, after: bool, when: str) -> None:
    with TemporaryDirectory() as folder:
        source, root = Source(Path(folder) / "x.jsonl"), open_root(Path(folder) / "root")
        wanted = nodes(source.write(documents(25)), shard_size=5)
        if when == "edit":
            run([wanted.documents], root)
            source.write([*documents(33, d3="changed", d14="changed too")[1:20], *documents(33)[22:]])
        with failing(calls, Killed(), after=after), suppress(Killed):
            run([wanted.documents], root)
        run([wanted.documents, wanted.clean], root)
        whole = content(wanted.clean, root)
        fresh = open_root(Path(folder) / "fresh")
        run([wanted.documents, wanted.clean], fresh)
        assert whole == content(wanted.clean, fresh)
        assert content(wanted.documents, root) == content(wanted.documents, fresh)
        assert run([wanted.documents, wanted.clean], root) == {}


edits = st.lists(
    st.dictionaries(st.integers(0, 14).map(lambda i: f"d{i}"), st.sampled_from(["a", "b", "bad", ""]), min_size=1),
    min_size=2,
    max_size=4,
)


@settings(max_examples=6)
@given(edits, st.integers(1, 5))
def test_a_sequence_of_edits_ends_like_a_fresh_run(steps, shard_size):
    check_edits(steps, shard_size)


@pytest.mark.slow
@settings(max_examples=150)
@given(edits, st.integers(1, 5))
def test_any_sequence_of_edits_ends_like_a_fresh_run(steps, shard_size):
    check_edits(steps, shard_size)


def check_edits(steps: list[dict[str, str]], shard_size: int) -> None:
    with TemporaryDirectory() as folder:
        source, root, fresh = (
            Source(Path(folder) / "x.jsonl"),
            open_root(f"{folder}/root"),
            open_root(f"{folder}/fresh"),
        )
        for step in steps:
            path = source.write({"id": i, "text": text, "title": f"T{text}"} for i, text in step.items())
            wanted = nodes(path, shard_size=shard_size)
            some = [wanted.documents, wanted.clean, wanted.title, wanted.model, wanted.predictions, wanted.total]
            run(some, root, refit="on_change")
            ids = [{i: r.ids for i, r in n.dataset(root).records().items()} for n in (wanted.documents, wanted.clean)]
            assert ids[0] == ids[1]
        run(some, fresh)
        for node in (wanted.documents, wanted.clean, wanted.title, wanted.predictions):
            assert content(node, root) == content(node, fresh)
        totals = [wanted.total.dataset(r).read(wanted.total.dataset(r).record(0)).to_pylist() for r in (root, fresh)]
        assert totals[0] == totals[1]
        assert run(some, root, refit="on_change") == {}
