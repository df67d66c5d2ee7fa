"""Configuration: refused at once, with field, expected, got and cure."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from fuseline.flows.config import Config, load_config, parse_config
from fuseline.stores.errors import ConfigError
from tests.flows.conftest import settings, write_config

BASE = settings(Path("data"))


def refusal(values: dict[str, object]) -> str:
    """Return the message of a refused configuration."""
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"modles": {}}, ["modles", "did you mean 'models'?"]),
        ({"clean": {"cleanr": "html2text"}}, ["clean.cleanr", "did you mean 'cleaner'?"]),
        ({"shard_size": 0}, ["shard_size", "greater than or equal to 1", "got 0"]),
        ({"shard_size": "many"}, ["shard_size", "valid integer", "'many'"]),
        ({"name": "a/b"}, ["name", "a/b"]),
        ({"source": {"reader": "cvs"}}, ["source.reader", "csv", "'cvs'"]),
        ({"source": {"options": {"imagse": "copy"}}}, ["source", "imagse", "did you mean 'images'?"]),
        ({"embed": {"image": {"encoder": "resnet9000"}}}, ["embed", "resnet9000", "efficientnet_lite2"]),
        ({"models": {"text": {"kind": "txet"}}}, ["models.text", "txet", "text"]),
        ({"models": {"x": {"kind": "text", "options": {"epoch": 3}}}}, ["models.x", "epoch", "write epochs: 3"]),
        ({"models": {"text": {"kind": "text", "options": {"lr": -1}}}}, ["models.text", "lr", "greater than 0", "-1"]),
        ({"models": {"m": {"kind": "additive", "options": {"image": "imgae"}}}}, ["imgae", "did you mean 'image'?"]),
        ({"models": {"m": {"kind": "pq", "options": {"codes": "qp"}}}}, ["codes", "'qp'", "did you mean 'pq'?"]),
        ({"quantize": {"pq": {"embedding": "images"}}}, ["quantize.pq.embedding", "did you mean 'image'?"]),
        ({"quantize": {"pq": {"quantizer": "opq"}}}, ["quantize.pq", "opq", "rspq"]),
        ({"models": {"../x": {"kind": "text"}}}, ["../x", "letters"]),
        ({"embed": {"x": {"encoder": "dlib_face"}}}, ["encoder", "dlib_face (face)", "`crops`"]),
        ({"embed": {"x": {"encoder": "tabular", "options": {"bin": 3}}}}, ["options.bin", "did you mean 'bins'?"]),
        ({"embed": {"x": {"encoder": "minilm", "field": "ocr"}}}, ["detections", "a detector beside field ocr"]),
        (
            {"embed": {"x": {"encoder": "minilm", "field": "ocr", "detections": "sign"}}, "detect": {
                "signs": {"detector": "rapidocr"}}}, ["embed.x.detections", "did you mean 'signs'?"]
        ),
        (
            {**BASE, "embed": {"image": {"encoder": "tabular", "output": "indices"}}},
            ["quantize.pq.embedding", "image (indices)", "name an embedding of vectors"],
        ),
        (
            {**BASE, "embed": {"image": {"encoder": "vocabulary"}}},
            ["quantize.pq.embedding", "image (indices)", "name an embedding of vectors"],
        ),
        (
            {**BASE, "stages": {"words": {"stage": "sequence"}}, "quantize": {"q": {"embedding": "words"}}},
            ["quantize.q.embedding", "got 'words'"],
        ),
        ({"stages": {"words": {"stage": "sequence", "options": {"feild": "title"}}}}, ["did you mean 'field'?"]),
        ({"embed": {"x": {"encoder": "vocabulary", "field": "labels"}}}, ["detections", "field ocr or labels"]),
        ({"models": {"x": {"kind": "lightgbm", "ocr": ["signs"]}}}, ["models.x", "ocr", "a model that reads text"]),
        ({"models": {"x": {"kind": "text", "ocr": ["signs"]}}}, ["models.x.ocr", "'signs'"]),
        ({"run": {"workers": 0}}, ["run.workers", "greater than or equal to 1"]),
        ({"refit": "sometimes"}, ["refit", "manual", "sometimes"]),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_is_expected_and_a_cure(change: dict[str, object], parts: list[str]) -> None:
    message = refusal({**BASE, **change})
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2", "\tname: x", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="expected"):
        load_config(path)


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="YAML"):
        load_config(path)


def test_overrides_replace_single_values(tmp_path: Path) -> None:
    path = write_config(tmp_path, settings(tmp_path))
    config = load_config(path, ["run.workers=1", "models.text.options.lr=0.25"])
    assert config.run.workers == 1
    assert config.models["text"].options == {"preset": "fasttext", "dim": 8, "lr": 0.25, "epochs": 5}
    with pytest.raises(ConfigError, match="key=value"):
        load_config(path, ["run.workers"])


def test_extends_takes_what_is_not_given(tmp_path: Path) -> None:
    write_config(tmp_path, settings(tmp_path))
    child = tmp_path / "child.yaml"
    child.write_text("extends: pipeline.yaml\nshard_size: 7\nclean: {cleaner: selectolax}\n")
    config = load_config(child)
    assert (config.shard_size, config.clean.cleaner, config.name) == (7, "selectolax", "shapes")


def test_a_file_that_is_extended_may_extend_another(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    write_config(tmp_path / "shared", settings(tmp_path))
    (tmp_path / "shared" / "middle.yaml").write_text("extends: pipeline.yaml\nshard_size: 7\nname: middle\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: shared/middle.yaml\nname: child\n")
    config = load_config(child)
    assert (config.name, config.shard_size, sorted(config.models)) == ("child", 7, ["additive", "pq", "text"])


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match="extends: expected 'a file that does not lead back to itself'"):
        load_config(tmp_path / "a.yaml")


class TestWhatMayBeExtended:
    """`extends` reads files: only those of the project, unless the command line names one."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        """Return a file of somebody else's."""
        path = tmp_path / "elsewhere" / "shadow"
        path.parent.mkdir()
        path.write_text("root:x-secret-hash\nother: {deep: [x-secret-hash\n")
        return path

    def child(self, folder: Path, extends: object) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / "child.yaml"
        path.write_text(yaml.safe_dump({"extends": extends, "name": "child"}))
        return path

    def test_a_file_outside_is_refused_and_not_quoted(self, tmp_path: Path, outside: Path) -> None:
        with pytest.raises(ConfigError, match="extends: expected 'a file below") as caught:
            load_config(self.child(tmp_path / "conf", str(outside)))
        assert "secret" not in str(caught.value)
        assert "--set extends=PATH" in str(caught.value)

    def test_a_link_that_leads_outside_is_refused(self, tmp_path: Path, outside: Path) -> None:
        child = self.child(tmp_path / "conf", "link.yaml")
        (tmp_path / "conf" / "link.yaml").symlink_to(outside)
        with pytest.raises(ConfigError, match="extends: expected 'a file below"):
            load_config(child)

    def test_a_file_that_is_extended_may_not_lead_outside(self, tmp_path: Path, outside: Path) -> None:
        self.child(tmp_path / "conf", str(outside)).rename(tmp_path / "conf" / "middle.yaml")
        with pytest.raises(ConfigError, match="extends: expected 'a file below"):
            load_config(self.child(tmp_path / "conf", "middle.yaml"))

    def test_a_deployments_parameter_reads_below_the_working_directory_alone(self, outside: Path) -> None:
        with pytest.raises(ValidationError, match="extends: expected 'a file below"):
            Config.model_validate({"extends": str(outside)})
        assert Config.model_validate({"extends": "conf/demo.yaml"}).name == "clipart"

    def test_the_command_line_may_name_any_file(self, tmp_path: Path) -> None:
        (tmp_path / "far").mkdir()
        write_config(tmp_path / "far", settings(tmp_path))
        child = self.child(tmp_path / "conf", "")
        config = load_config(child, [f"extends={tmp_path / 'far' / 'pipeline.yaml'}"])
        assert (config.name, sorted(config.models)) == ("child", ["additive", "pq", "text"])

    @pytest.mark.parametrize("marker", ["prefect.yaml", "pyproject.toml"])
    def test_a_project_is_one_place(self, tmp_path: Path, marker: str) -> None:
        (tmp_path / marker).touch()
        write_config(tmp_path, settings(tmp_path))
        assert load_config(self.child(tmp_path / "conf", "../pipeline.yaml")).name == "child"

    @pytest.mark.parametrize("extends", [5, ["a"], {"a": 1}, True])
    def test_it_is_a_path(self, tmp_path: Path, extends: object) -> None:
        with pytest.raises(ConfigError, match="extends: expected 'the path of a YAML file'"):
            load_config(self.child(tmp_path / "conf", extends))


@pytest.mark.parametrize(
    "text",
    [
        "root:x-secret-hash",
        "a: [x-secret-hash",
        "- x-secret-hash",
        "\tx-secret-hash: 1",
        "a: !!python/x 'x-secret-hash'",
    ],
)
def test_no_error_quotes_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="expected") as caught:
        load_config(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("models: " + "[" * 3000 + "]" * 3000, "hundreds of levels"),
        ("models: " + "{a: " * 3000 + "}" * 3000, "hundreds of levels"),
        ("shard_size: " + "9" * 5000, "out of range"),
        ("shard_size: 0x" + "f" * 5000, "shard_size: expected 'an integer of 63 bits'"),
        ("name: 2026-02-31", "out of range"),
        ('root: "a\\0b"', "root: expected 'text without NUL characters'"),
        ('source: {path: "a\\0b"}', "source.path: expected 'text without NUL characters'"),
        ('extends: "a\\0b"', "extends: expected 'text without NUL characters'"),
    ],
)
def test_odd_values_are_refused_in_one_short_line(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_effective_configuration_loads_to_itself() -> None:
    config = parse_config(BASE)
    assert Config.model_validate(yaml.safe_load(config.to_yaml())) == config


def test_the_digest_knows_what_changes_bytes() -> None:
    digest = parse_config(BASE).digest
    assert parse_config({**BASE, "root": "elsewhere", "run": {"workers": 7}}).digest == digest
    assert parse_config({**BASE, "source": {"reader": "jsonl", "path": "moved.jsonl"}}).digest == digest
    assert parse_config({**BASE, "shard_size": 21}).digest != digest


def test_the_prefect_form_asks_for_no_field() -> None:
    schema = Config.model_json_schema()
    assert "required" not in schema
    assert {"source", "embed", "models", "extends"} <= set(schema["properties"])
