"""What `fuseline describe` says of everything that a configuration can name."""

from typing import Any

import orjson
import pytest

from fuseline.flows.cli.choices import REGISTRIES
from fuseline.flows.cli.describe import KINDS, SETTINGS, describe
from fuseline.flows.config import Config
from fuseline.stores.errors import ConfigError
from tests.flows.conftest import Cli

EVERYTHING = [(kind, row["name"]) for kind in KINDS for row in REGISTRIES[f"{kind}s"]()]


def rows_of(kind: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the options by name."""
    return {row["option"]: row for row in describe(kind, name)["options"]}


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_every_option_has_a_meaning_a_type_and_a_default_or_is_required(kind: str, name: str) -> None:
    found = describe(kind, name)
    assert found["summary"]
    assert bool(found["options"]) is (kind not in ("metric", "section", "place", "preset"))
    for row in found["options"]:
        assert len(row["meaning"]) > 10, row["option"]
        assert row["type"] not in ("", "anything"), row["option"]
        absent = row["default"] is None and "none" not in row["type"]
        assert not absent or row["required"] or row["type"] in ("settings", "mapping"), row["option"]
    orjson.dumps(found)


def test_every_setting_of_a_configuration_belongs_to_a_stage_or_to_the_run() -> None:
    told = {name for names in SETTINGS.values() for name in names}
    assert told | {"extends", "root", "sweep", "run"} == set(Config.model_fields)


def test_types_bounds_and_defaults_are_those_that_are_checked() -> None:
    image = rows_of("stage", "embed")
    assert image["embed.NAME.limits.max_bytes"]["type"] == "integer, at least 1"
    csv = rows_of("reader", "csv")
    assert csv["delimiter"]["type"] == "text, or none"
    assert csv["overflow"] | {"meaning": ""} == {
        "option": "overflow", "type": "one of bad_row, join_last", "default": "bad_row", "required": False,
        "key": True, "meaning": "",
    }  # fmt: skip
    assert csv["batch_rows"]["key"] is False
    assert csv["tabular"]["type"] == "mapping of names to one of number, category"
    assert rows_of("reader", "products")["preset"]["required"] is True
    alpha = rows_of("model", "pq")["alpha"]
    assert (alpha["default"], alpha["type"]) == ("auto", "number, above 0, or auto: chosen on valid")


def test_a_misspelt_name_gets_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match="'efficientnet_lite3'; did you mean 'efficientnet_lite"):
        describe("encoder", "efficientnet_lite3")
    with pytest.raises(ConfigError, match="`fuseline list readers` shows them"):
        describe("reader", "zzz")


def test_the_command_prints_a_table_or_json(cli: Cli) -> None:
    shown = cli("describe", "reader", "petfinder")
    assert shown.exit_code == 0, shown.output
    for words in ("Kaggle PetFinder.my", "looks for: ", "photos", "one of first, each", "meaning"):
        assert words in shown.output
    assert orjson.loads(cli("describe", "model", "pq", "--json").stdout) == describe("model", "pq")
    assert cli("describe", "metric", "top_5").output.startswith("top_5: share of documents")
    wrong = cli("describe", "quantizer", "pqq")
    assert wrong.exit_code == 2
    assert "did you mean 'pq'" in wrong.output
