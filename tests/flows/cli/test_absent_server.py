"""A Prefect server that is not there is told in one line, and nothing is committed by halves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import settings, write_config, write_documents


@pytest.mark.slow
def test_an_absent_server_is_told_in_one_line(tmp_path: Path) -> None:
    write_documents(tmp_path, [{"id": f"d{n}", "text": "alpha", "label": "x"} for n in range(5)])
    values = {**settings(tmp_path), "embed": {}, "quantize": {}, "models": {"text": {"kind": "text"}}}
    command = [sys.executable, "-m", "fuseline.flows.cli", "run", str(write_config(tmp_path, values))]
    env = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "Prefect's server: expected 'an answer'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
