"""Damage of any file of a dataset: named by verify, repaired alone."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pyarrow as pa
import pytest
from drive import Nodes, Source, counts, documents, nodes, run
from faults import full_disk
from typer.testing import CliRunner

from fuseline.flows.cli.app import app
from fuseline.flows.cli.console import status_of
from fuseline.flows.config import Config, parse_config
from fuseline.flows.experiments.trials import sweep_nodes
from fuseline.flows.graph import build
from fuseline.flows.runs import configs_of_runs, last_configs, last_run, last_summaries, runs_of, write_run
from fuseline.flows.upkeep.damage import Checked, find_all_damage, find_damage
from fuseline.flows.upkeep.maintenance import find_garbage
from fuseline.stores.dataset import Dataset
from fuseline.stores.errors import DataError
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Fit, Node
from fuseline.tasks.engine.planner import PlanOptions, plan_all, snapshot_of


@pytest.fixture
def made(tmp_path: Path) -> tuple[Nodes, Path]:
    """Return a finished pipeline of 25 documents in 3 shards."""
    wanted, root = nodes(Source(tmp_path / "x.jsonl").write(documents(25))), open_root(tmp_path / "root")
    run(wanted, root)
    return wanted, root


def named(wanted: Nodes, root: Root) -> dict[str, list[str]]:
    """Return what is damaged, by node."""
    return {label: list(map(str, damage)) for label, _, damage in find_damage(list(wanted), root) if damage}


def repaired(wanted: Nodes, root: Root) -> dict[str, tuple[int, int, int]]:
    """Mend, run, and return what was made; nothing may be damaged or left to do afterwards."""
    for _, _, damage in list(find_damage(list(wanted), root)):
        for one in damage:
            one.repair()
    made = counts(run(wanted, root))
    assert named(wanted, root) == {}
    assert not any(plan.todo for plan in plan_all(list(wanted), root, PlanOptions()))
    return made


def flip(path: Path) -> None:
    """Change one digit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Lose the end of a file."""
    path.write_bytes(path.read_bytes()[:-20])


def dataset(node: Node, root: Root) -> Dataset:
    """Return a node's dataset."""
    return node.dataset(root)


@pytest.mark.parametrize("name", ["documents", "clean", "vector"])
@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_record_is_made_again_without_computing_a_row(made, name, damage):
    wanted, root = made
    data = dataset(getattr(wanted, name), root)
    path, before = data.folder.local() / "shards" / "000001.json", data.records()
    damage(path)
    assert named(wanted, root) == {getattr(wanted, name).label: ["1: shards/000001.json"]}
    done = repaired(wanted, root)
    assert all(computed == 0 for _, computed, _ in done.values())
    assert data.records() == before


def test_a_damaged_summary_and_checkpoint_record_are_made_again(made):
    wanted, root = made
    flip(dataset(wanted.total, root).folder.local() / "shards" / "000000.json")
    flip(wanted.model.fitted(root).folder.local() / "record.json")
    assert named(wanted, root) == {"train/longest": ["0: record.json"], "evaluate/total": ["0: shards/000000.json"]}
    assert set(repaired(wanted, root)) == {"models/longest", "evaluation/total"}


def test_a_record_and_its_bytes_damaged_together_cost_that_shard(made):
    wanted, root = made
    data = dataset(wanted.clean, root)
    cut(data.folder.local() / f"{data.records()[2].name}.parquet")
    flip(data.folder.local() / "shards" / "000002.json")
    assert repaired(wanted, root)["clean/text"] == (1, 5, 0)


def test_damaged_documents_come_from_the_source_into_the_same_place(made):
    wanted, root = made
    data = dataset(wanted.documents, root)
    before = data.records()
    cut(data.folder.local() / f"{before[0].name}.parquet")
    assert set(repaired(wanted, root)) == {"documents/x"}
    assert data.records() == before


@pytest.mark.parametrize("name", ["documents", "clean", "vector"])
def test_damaged_bytes_of_an_earlier_version_go(tmp_path, name):
    source = Source(tmp_path / "x.jsonl")
    wanted, root = nodes(source.write(documents(5))), open_root(tmp_path / "root")
    run(wanted, root)
    source.write(documents(5, d1="another text"))
    run(wanted, root)
    data = dataset(getattr(wanted, name), root)
    (old,) = data.superseded()
    assert named(wanted, root) == {}
    for path in (data.folder.local() / file for file in data.store.files(old)):
        cut(path)
    assert named(wanted, root) == {getattr(wanted, name).label: [old]}
    assert repaired(wanted, root) == {}
    assert data.superseded() == []


def test_a_damaged_manifest_is_written_again(made):
    wanted, root = made
    for node in (wanted.clean, wanted.model):
        flip(root.local() / node.name / node.key / "manifest.json")
    assert named(wanted, root) == {"clean/text": ["manifest.json"], "train/longest": ["manifest.json"]}
    assert repaired(wanted, root) == {}


@pytest.mark.parametrize("tried", [False, True])
def test_nothing_is_damaged_before_the_first_run(tmp_path, tried):
    wanted = nodes(tmp_path / "x.jsonl")
    if tried:
        (tmp_path / "x.jsonl").write_bytes(b"")
        with pytest.raises(DataError, match="at least one document"):
            run([wanted.documents], open_root(tmp_path / "root"), look=False)
    found = {
        label: (checked, damage) for label, checked, damage in find_damage(list(wanted), open_root(tmp_path / "root"))
    }
    assert found.pop("train/longest") == (1, [])
    assert list(found.values()) == [(0, [])] * 6


def garbage_of(config: Config) -> list[Path]:
    """Return the paths of what is garbage."""
    return [open_root(config.root).local(name) for name in find_garbage(config)]


class TestGarbage:
    """`find_garbage` names what no configuration needs, and nothing else."""

    @staticmethod
    def config(tmp_path: Path, **cleaning: object) -> Config:
        """Return a configuration that ingests and cleans texts."""
        source = {"path": str(tmp_path / "x.jsonl"), "options": {}}
        values = {"name": "x", "root": str(tmp_path / "root"), "source": source, "clean": cleaning}
        return parse_config(values)

    @staticmethod
    def make(config: Config) -> list[Path]:
        """Make the documents and cleaned texts; return the folders of the datasets that are there."""
        root = open_root(config.root)
        made = [node for node in build(config) if node.flow in ("ingest", "clean")]
        run(made, root)
        return [node.dataset(root).folder.local() for node in made]

    def test_superseded_versions_are_garbage_and_current_ones_are_kept(self, tmp_path: Path):
        Source(tmp_path / "x.jsonl").write(documents(5))
        old, new = self.config(tmp_path), self.config(tmp_path, cleaner="selectolax")
        first = self.make(old)
        assert garbage_of(old) == []
        second = self.make(new)
        assert garbage_of(new) == sorted(set(first) - set(second)) != []
        assert garbage_of(old) == sorted(set(second) - set(first)) != []
        assert all(folder.is_dir() for folder in {*first, *second})

    def test_what_the_last_run_of_another_configuration_needs_is_kept(self, tmp_path: Path):
        Source(tmp_path / "x.jsonl").write(documents(5))
        mine = self.config(tmp_path)
        other = mine.model_copy(update={"name": "y"})
        self.make(mine)
        folders = self.make(other)
        assert garbage_of(mine) == sorted(folders)
        write_run(open_root(Path(mine.root)), "20260101-000000-aaaa", other, [], "")
        assert garbage_of(mine) == []

    def test_of_a_configuration_counts_what_it_says_now(self, tmp_path: Path):
        Source(tmp_path / "x.jsonl").write(documents(5))
        old, new = self.config(tmp_path), self.config(tmp_path, cleaner="selectolax")
        first, second = self.make(old), self.make(new)
        write_run(open_root(Path(old.root)), "20260101-000000-aaaa", old, [], "")
        assert garbage_of(new) == sorted(set(first) - set(second)) != []

    def test_left_overs_of_killed_writes_are_garbage(self, tmp_path: Path):
        Source(tmp_path / "x.jsonl").write(documents(5))
        config = self.config(tmp_path)
        folder, *_ = self.make(config)
        partial = folder / ".000000-0123.parquet.89abcdef.partial"
        partial.write_bytes(b"half")
        assert garbage_of(config) == [partial]

    def test_a_superseded_folder_of_vectors_is_garbage(self, tmp_path: Path):
        values = self.config(tmp_path).model_dump(include={"name", "root", "source"})
        config = parse_config({**values, "embed": {"image": {"encoder": "efficientnet_lite2"}}})
        node = next(node for node in build(config) if node.layout == "zarr")
        data = node.dataset(open_root(config.root))
        for value in (1.0, 2.0):
            vectors = pa.FixedSizeListArray.from_arrays(pa.array([value], pa.float32()), 1)
            data.commit(0, pa.table({"id": ["d0"], "embedding": vectors}), {})
        (old,) = data.superseded()
        assert garbage_of(config) == [data.folder.local() / f"{old}.zarr"]

    def test_trainings_of_a_grid_are_kept(self, tmp_path: Path):
        source = {"path": str(tmp_path / "x.jsonl"), "options": {}}
        grid = {"sweep": {"lr": [0.1, 0.2]}, "models": {"t": {"kind": "text"}}}
        values = {"name": "x", "root": str(tmp_path / "root"), "source": source, **grid}
        config = parse_config(values)
        seen = {"n_rows": 1, "shards": {}, "fitted": {}, "facts": {}}
        cells = [node.fitted(open_root(config.root)) for node in sweep_nodes(config)]
        for fitted in cells:
            fitted.commit(lambda folder: (folder / "x").write_bytes(b"1"), **seen)
            fitted.drop()  # its record stays, and tells what it saw
        assert len(cells) > 1
        assert garbage_of(config) == []

    @pytest.mark.parametrize("harm", [Path.unlink, cut, flip])
    def test_bytes_whose_record_is_lost_are_never_garbage(self, tmp_path: Path, harm):
        source = Source(tmp_path / "x.jsonl")
        source.write(documents(5))
        config = self.config(tmp_path)
        self.make(config)
        source.write(documents(5, d1="another text"))
        superseded = self.files(config)
        self.make(config)
        assert set(garbage_of(config)) == superseded
        made = [node for node in build(config) if node.flow in ("ingest", "clean")]
        before = self.files(config)
        for node in made:
            harm(node.dataset(open_root(config.root)).folder.local() / "shards" / "000000.json")
        assert garbage_of(config) == []
        assert {label for label, _, damage in find_damage(made, open_root(config.root)) if damage} == {
            node.label for node in made
        }
        repaired(made, open_root(config.root))
        assert before <= self.files(config)

    @staticmethod
    def files(config: Config) -> set[Path]:
        """Return the shards' files of all datasets."""
        return {path for path in Path(config.root).glob("*/*/*/*.parquet") if path.name.startswith("0000")}

    def test_a_checkpoint_that_was_replaced_is_garbage(self, tmp_path: Path):
        source = {"path": str(tmp_path / "x.jsonl"), "options": {}}
        values = {"name": "x", "root": str(tmp_path / "root"), "source": source, "models": {"t": {"kind": "text"}}}
        config = parse_config(values)
        node = next(node for node in build(config) if isinstance(node, Fit))
        fitted, seen = node.fitted(open_root(config.root)), {"n_rows": 1, "shards": {}, "fitted": {}, "facts": {}}
        old = fitted.folder.local(fitted.commit(lambda folder: (folder / "x").write_bytes(b"1"), **seen).name)
        assert garbage_of(config) == []
        fitted.commit(lambda folder: (folder / "x").write_bytes(b"2"), **seen)
        assert garbage_of(config) == [old]

    def test_what_a_training_kept_is_garbage_once_nobody_goes_on_from_it(self, tmp_path: Path):
        values = self.config(tmp_path).model_dump(include={"name", "root", "source"})
        config = parse_config({**values, "models": {"t": {"kind": "text"}}})
        root, node = open_root(config.root), next(node for node in build(config) if isinstance(node, Fit))
        mine, other = node.fitted(root), replace(node, version=99).fitted(root)  # the other one goes whole
        for seen, garbage in (("before", ["partial/before", ""]), (snapshot_of(node, root).digest, [""])):
            for fitted in (mine, other):
                fitted.scratch(seen).mkdir(parents=True)
            folders = [mine.folder.local() / name if name else other.folder.local() for name in garbage]
            assert garbage_of(config) == sorted(folders)

    def test_checkpoints_are_never_garbage_without_their_record(self, made: tuple[Nodes, Path]):
        wanted, root = made
        fitted, folder = wanted.model.fitted(root), wanted.model.fitted(root).folder.local()
        (folder / "checkpoint-0123456789ab").mkdir()
        assert fitted.superseded() == ["checkpoint-0123456789ab"]
        for data in (b"{}", b"[]", b"", None):
            (folder / "record.json").unlink() if data is None else (folder / "record.json").write_bytes(data)
            assert fitted.superseded() == []

    @pytest.mark.parametrize("listed", [True, False])
    def test_gc_needs_no_room(self, tmp_path: Path, listed: bool):
        source = Source(tmp_path / "x.jsonl")
        source.write(documents(5))
        config = self.config(tmp_path)
        self.make(config)
        source.write(documents(5, d1="another text"))
        self.make(config)
        garbage, path = garbage_of(config), tmp_path / "x.yaml"
        path.write_text(config.to_yaml(), encoding="utf-8")
        assert len(garbage) == 2
        if listed:
            write_run(open_root(config.root), "20260101-000000-abcd", config, [], "")
            (Path(config.root) / "catalog.duckdb").write_bytes(b"a catalog that names what goes")
        with full_disk():
            result = CliRunner().invoke(app, ["gc", str(path), "--wait", "0"])
        assert result.exit_code == 0, result.output
        assert not any(one.exists() for one in garbage)
        assert not (Path(config.root) / "catalog.duckdb").exists()
        assert ("the next run writes it again" in result.output) is listed

    def test_gc_tells_for_whom_it_waits(self, tmp_path: Path):
        config, path = self.config(tmp_path), tmp_path / "x.yaml"
        path.write_text(config.to_yaml(), encoding="utf-8")
        holder = """import sys; from fuseline.stores.lock import hold
from fuseline.stores.places import open_root
with hold(open_root(sys.argv[1]), started="noon", wait=0): print("held", flush=True); sys.stdin.readline()"""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen([sys.executable, "-c", holder, config.root], **pipes) as other:
            assert other.stdout.readline() == "held\n"
            refused = CliRunner().invoke(app, ["gc", str(path), "--wait", "0"])
            Timer(0.5, other.stdin.close).start()
            waited = CliRunner().invoke(app, ["gc", str(path)])
        assert (refused.exit_code, waited.exit_code) == (1, 0), waited.output
        assert f"process {other.pid} on " in waited.output
        assert "holds it; waiting" in waited.output


class TestRuns:
    """Which run was the last is counted, whatever the clock says."""

    def test_the_last_run_is_the_one_written_last(self, tmp_path: Path):
        config = TestGarbage.config(tmp_path)
        names = ["20260301-000000-aaaa", "20260101-000000-bbbb", "20260201-000000-cccc"]  # the clock went back twice
        for number, name in enumerate(names):
            changed = config.model_copy(update={"shard_size": 10 + number})
            write_run(open_root(tmp_path), name, changed, [{"stage": name}], "page")
        assert [run.run for run in runs_of(open_root(tmp_path))] == names
        assert last_run(open_root(tmp_path)).run == names[-1]
        assert last_summaries(open_root(tmp_path)) == [{"stage": names[-1]}]
        assert [one.shard_size for _, one in configs_of_runs(open_root(tmp_path))] == [10, 11, 12]
        assert last_configs(open_root(tmp_path))["x"].shard_size == 12
        assert status_of(changed.model_copy(update={"root": str(tmp_path)}), [])["last_run"] == names[-1]

    def test_a_damaged_record_hides_no_other_and_stops_gc(self, tmp_path: Path):
        config = TestGarbage.config(tmp_path)
        root = open_root(config.root)
        for name in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
            write_run(root, name, config, [], "page")
        for data in (b"[]", b"{", b"5", None):
            path = root.local() / "runs" / "20260102-000000-bbbb.json"
            path.unlink() if data is None else path.write_bytes(data)
            assert [run.run for run in runs_of(root)] == ["20260101-000000-aaaa"]
            with pytest.raises(DataError, match=r"runs/20260102-000000-bbbb.json: expected .*; run `fuseline repair`"):
                garbage_of(config)
        write_run(root, "20250101-000000-cccc", config, [], "page")
        assert last_run(root).run == "20250101-000000-cccc"


class TestOtherDatasets:
    """Datasets that another configuration, an earlier version or a prediction left under the root."""

    @pytest.fixture
    def configs(self, tmp_path: Path) -> tuple[Config, Config, Path]:
        """Return two configurations, the datasets of both made, and a shard of the second one's texts."""
        Source(tmp_path / "x.jsonl").write(documents(5))
        mine = TestGarbage.config(tmp_path)
        other = mine.model_copy(update={"name": "y"})
        TestGarbage.make(mine)
        *_, folder = TestGarbage.make(other)
        return mine, other, next(folder.glob("*.parquet"))

    @staticmethod
    def found(config: Config) -> Checked:
        """Return what was looked at in other datasets."""
        (row,) = [row for row in find_all_damage(config) if row.label == "other datasets"]
        return row

    @pytest.mark.parametrize("name", ["shard", "manifest.json", "shards/000000.json"])
    @pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
    def test_what_nobody_needs_goes_whole(self, configs: tuple[Config, Config, Path], name: str, harm):
        mine, _, shard = configs
        assert self.found(mine).damage == []
        harm(shard if name == "shard" else shard.parent / name)
        checked, (damage,) = self.found(mine)[1:]
        assert checked == (1 if name == "manifest.json" else 2)  # what lies there is not known without its manifest
        assert str(damage).startswith(f"clean/text/{shard.parent.name}")
        damage.repair()
        assert not shard.parent.exists()
        assert self.found(mine).damage == []

    def test_what_another_configuration_needs_is_made_again_by_it(self, configs: tuple[Config, Config, Path]):
        mine, other, shard = configs
        write_run(open_root(Path(mine.root)), "20260101-000000-aaaa", other, [], "")
        flip(shard)
        (damage,) = self.found(mine).damage
        assert str(damage) == f"clean/text/{shard.parent.name} 0: {shard.name}"
        damage.repair()
        assert self.found(mine).damage == []
        assert (shard.parent / "manifest.json").exists()
        assert not shard.exists()
