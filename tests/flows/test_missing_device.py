"""What is refused before a plan is made."""

from pathlib import Path

import pytest
import torch

from fuseline.flows.config import parse_config
from fuseline.flows.graph import build
from fuseline.flows.plan_options import plan_options
from fuseline.stores.errors import ConfigError
from tests.flows.conftest import Cli, settings, write_config


def on(device: str, **changes: object) -> dict[str, object]:
    """Return a configuration whose image encoder runs on a device."""
    embed = {"image": {"encoder": "efficientnet_lite2", "options": {"device": device}}}
    return {**settings(Path("data")), "embed": embed, **changes}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_refused_by_plan_and_run(cli: Cli, tmp_path: Path, device: str) -> None:
    config = write_config(tmp_path, {**on(device), "root": str(tmp_path / "out")})
    for command in ("plan", "run"):
        result = cli(command, config)
        assert result.exit_code == 2
        assert f"embed/image: device: expected one of ['cpu'], got '{device}'" in result.output
        assert "take device: auto" in result.output
    assert not (tmp_path / "out" / "embed").exists()


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_other_devices_pass(device: str) -> None:
    config = parse_config(on(device))
    plan_options(config, build(config))


def test_a_cluster_may_have_what_this_machine_lacks() -> None:
    config = parse_config(on("cuda", run={"executor": "dask"}))
    plan_options(config, build(config))


def test_a_device_that_is_there_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config = parse_config(on("cuda:1"))
    plan_options(config, build(config))
    config = parse_config(on("cuda:2"))
    with pytest.raises(ConfigError, match=r"cuda:2.*"):
        plan_options(config, build(config))
