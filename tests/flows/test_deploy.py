"""The configuration that is deployed is said in a line; a refusal is one line too."""

from pathlib import Path

import pytest

from fuseline.flows.deploy import chosen_config
from tests.flows.conftest import settings, write_config


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen_config.cache_clear()


def test_it_is_said_once_for_all_deployments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(tmp_path, settings(tmp_path))
    for _ in range(2):
        assert chosen_config("pipeline.yaml") == {"config": "pipeline.yaml", "name": "shapes"}
    assert capsys.readouterr().err == "every deployment runs pipeline.yaml, data set shapes\n"


@pytest.mark.parametrize("config", ["", "{{ $FUSELINE_CONFIG }}", "absent.yaml", "/etc/hosts", "wrong.yaml"])
def test_a_refusal_is_one_line(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrong.yaml").write_text("models: 3\n")
    with pytest.raises(SystemExit) as end:
        chosen_config(config)
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert len(lines) == 1
    assert "expected" in lines[0]
