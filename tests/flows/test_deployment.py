"""A real Prefect server, a process worker and prefect.yaml as it is shipped."""

import json
import re
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fuseline.flows.prefect_setup import PREFECT_SETTINGS
from tests.flows.conftest import document, make_data, write_documents
from tests.flows.live import PATIENCE, REPO, clean_env, program, wait_for
from tests.flows.test_run import last_summaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc"),
]

FLOWS = {"ingest", "clean", "extract", "quantize", "train", "predict", "evaluate", "report"}


@dataclass(frozen=True)
class Service:
    """A server with a worker, and how to talk to them."""

    url: str
    env: dict[str, str]
    home: Path

    def prefect(self, *arguments: object, code: int | None = 0) -> str:
        """Call Prefect's command line and return what it printed."""
        command = [sys.executable, "-m", "prefect", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=REPO, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False
        )
        text = done.stdout.decode()
        assert code is None or done.returncode == code, text
        return text

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the server."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/{path}", json.dumps(body or {}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def run_pipeline(self, config: Path, *, code: int | None = 0, **values: Any) -> str:
        """Run the whole pipeline by its deployment and wait for its end."""
        parameters = json.dumps({"config": config.relative_to(REPO).as_posix(), "set": values})
        return self.prefect(
            "deployment", "run", "pipeline/nightly", "--params", parameters,
            "--watch", "--watch-interval", 2, "--watch-timeout", 500, code=code,
        )  # fmt: skip

    def last_run(self) -> dict[str, Any]:
        """Return the newest flow run of the nightly deployment that is not scheduled."""
        wanted = {"state": {"type": {"not_any_": ["SCHEDULED", "PENDING"]}}}
        found = self.post(
            "flow_runs/filter",
            {"flow_runs": wanted, "deployments": {"name": {"any_": ["nightly"]}}, "sort": "START_TIME_DESC"},
        )
        return dict(found[0])

    def shard_tasks(self) -> int:
        """Return how many tasks of ours there were; Prefect counts every flow within a flow as one more."""
        return sum(row["task_key"].startswith(("batch", "run_whole")) for row in self.task_runs())

    def task_runs(self) -> list[dict[str, Any]]:
        """Return all task runs of this server, page by page: it gives 200 at most."""
        rows = list[dict[str, Any]]()
        while page := self.post("task_runs/filter", {"limit": 200, "offset": len(rows), "sort": "ID_DESC"}):
            rows += page
        return rows

    def healthy(self) -> bool:
        """Return whether the server answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a server, deploy all and start a worker, the way the README says."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    env = clean_env(
        **PREFECT_SETTINGS,
        PREFECT_HOME=str(home),
        PREFECT_API_URL=url,
        PIPELINE_HOME=str(REPO),
        COLUMNS="300",
        FUSELINE_CONFIG="conf/demo.yaml",
    )
    service = Service(url, env, home)
    server = program(
        "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, log=home / "serve.log", env=env
    )
    with server as process:
        wait_for(lambda: process.poll() is not None or service.healthy(), "the server to answer")
        assert process.poll() is None, (home / "serve.log").read_text()
        service.prefect("work-pool", "create", "local-process", "--type", "process")
        deployed = service.prefect("--no-prompt", "deploy", "--all")
        assert deployed.count("every deployment runs conf/demo.yaml, data set clipart") == 1
        work = program("prefect", "worker", "start", "--pool", "local-process", "--name", "w1",
                       log=home / "worker.log", env=env)  # fmt: skip
        with work:
            yield service


@pytest.fixture
def data() -> Iterator[Path]:
    """Return the configuration of a small data set, below the project as a deployment wants it."""
    (REPO / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=REPO / "runs") as folder:
        yield make_data(Path(folder) / "data", 50)


def test_every_flow_is_deployed_and_the_pipeline_has_a_schedule(service: Service) -> None:
    flows = {flow["id"]: flow["name"] for flow in service.post("flows/filter")}
    deployments = {(flows[d["flow_id"]], d["name"]): d for d in service.post("deployments/filter")}
    assert set(deployments) == {(name, name) for name in FLOWS} | {("pipeline", "nightly")}
    nightly = deployments["pipeline", "nightly"]
    (schedule,) = nightly["schedules"]
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "15 2 * * *"
    assert all(d["concurrency_limit"] == 1 or d["global_concurrency_limit"] for d in deployments.values())
    assert all(not d["schedules"] for key, d in deployments.items() if key != ("pipeline", "nightly"))
    assert all(
        d["pull_steps"] == [{"prefect.deployments.steps.set_working_directory": {"directory": str(REPO)}}]
        for d in deployments.values()
    )


def test_the_schedule_creates_runs(service: Service) -> None:
    wanted = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "deployments": {"name": {"any_": ["nightly"]}},
    }
    (first, *_) = wait_for(lambda: service.post("flow_runs/filter", wanted), "scheduled runs", seconds=PATIENCE)
    assert first["auto_scheduled"]
    assert first["parameters"]["config"] == "conf/demo.yaml"


def test_the_configuration_is_a_form(service: Service) -> None:
    (nightly,) = [d for d in service.post("deployments/filter") if d["name"] == "nightly"]
    schema = nightly["parameter_openapi_schema"]
    fields = schema["properties"]
    assert set(fields) == {"config", "set", "retry_failed", "refit"}
    assert (fields["config"]["type"], fields["set"]["type"]) == ("string", "object")
    assert schema["required"] == ["config"]
    assert "conf/demo.yaml, data set clipart" in nightly["description"]
    (report,) = [d for d in service.post("deployments/filter") if d["name"] == "report"]
    assert set(report["parameter_openapi_schema"]["properties"]) == {"config", "set"}


def test_a_deployment_without_a_configuration_is_refused(service: Service) -> None:
    for chosen in (None, "conf/absent.yaml", "/etc/hosts"):
        env = {name: value for name, value in service.env.items() if name != "FUSELINE_CONFIG"}
        other = Service(service.url, {**env, **({"FUSELINE_CONFIG": chosen} if chosen else {})}, service.home)
        output = other.prefect("--no-prompt", "deploy", "--all", code=2)
        assert "expected" in output.splitlines()[-1]
        assert "Traceback" not in output


def test_runs_by_deployment_make_only_what_is_new(service: Service, data: Path) -> None:
    folder, root = data.parent, data.parent / "out"
    watched = service.run_pipeline(data)
    first = last_summaries(root)
    assert first["embed/image"]["computed_shards"] == 3
    names = {row["name"] for row in service.task_runs()}
    assert {"ingest/shapes", "embed/image shard 2", "train/additive"} <= names
    assert any(re.fullmatch(r"predict/pq shard 0(-\d+)?", name) for name in names)  # quick shards go together
    shows_its_result(service, root, watched)

    write_documents(folder, [document(folder, number) for number in range(63)])
    service.run_pipeline(data)
    done = last_summaries(root)
    assert done["ingest/shapes"]["rows_computed"] == 13
    for stage in ("clean/text", "embed/image", "quantize/pq", "predict/additive"):
        assert (done[stage]["fresh"], done[stage]["computed_shards"], done[stage]["rows_computed"]) == (3, 1, 13), stage
    assert done["train/additive"]["computed_shards"] == 0

    tasks = service.shard_tasks()
    service.run_pipeline(data)
    again = last_summaries(root)
    assert sum(row["computed_shards"] for row in again.values()) == 0
    assert service.shard_tasks() == tasks
    assert len(list((root / "runs").glob("*.json"))) == 3
    assert not list((service.home / "storage").glob("*"))


def shows_its_result(service: Service, root: Path, watched: str) -> None:
    """Assert that the UI holds the leaderboard, a link to the report, flows with names, and lines of ours."""
    artifacts = {one["key"]: one for one in service.post("artifacts/filter")}
    table = json.loads(artifacts["leaderboard-shapes"]["data"])
    assert {row["model"] for row in table} == {"text", "additive", "pq"}
    assert all(0 <= float(row["valid"]) <= 100 and row["fit"].endswith(" s") for row in table)
    assert (root / "latest" / "report.html").as_uri() in artifacts["report-shapes"]["data"]
    runs = service.post("flow_runs/filter", {"limit": 200})
    names = {row["name"] for row in runs}
    assert {"ingest: shapes", "train: shapes"} <= names
    assert "report/shapes" in {row["name"] for row in service.task_runs()}
    assert any(name.startswith("pipeline: runs/") for name in names)
    messages = [row["message"] for row in service.post("logs/filter", {"limit": 200})]
    assert any("embed/image" in message and "docs/s" in message for message in messages)
    assert all(set(run["parameters"]["config"]) == {"name", "digest"} for run in runs if run["parent_task_run_id"])

    own = {"flow_run_id": {"any_": [run["id"] for run in runs if run["name"].startswith("pipeline: runs/")]}}
    page = [row["message"] for row in service.post("logs/filter", {"logs": own, "limit": 200})]
    assert any(re.fullmatch(r"embed/image: 3 made, 50 rows computed, .* s", line) for line in page)
    assert sum(bool(re.match(r"[123]\. (text|additive|pq): valid [0-9.]+, test ", line)) for line in page) == 3
    assert f"report: {root / 'latest' / 'report.html'}" in page
    for line in page:  # --watch shows the page
        assert line in watched


def test_a_step_runs_alone(service: Service, data: Path) -> None:
    parameters = json.dumps({"config": data.relative_to(REPO).as_posix()})
    service.prefect("deployment", "run", "ingest/ingest", "--params", parameters, "--watch", "--watch-timeout", 500)
    assert len(list((data.parent / "out" / "documents").rglob("shards/*.json"))) == 3
    assert not (data.parent / "out" / "embed").exists()


def test_a_wrong_configuration_fails_with_our_line(service: Service, data: Path) -> None:
    output = service.run_pipeline(data, **{"embed.image.encoder": "efficientnet_lite3"}, code=None)
    assert "efficientnet_lite2" in output
    assert "Traceback" not in output
    run = service.last_run()
    assert run["state"]["type"] == "FAILED"
    assert "efficientnet_lite2" in run["state"]["message"]
    assert not (data.parent / "out" / "documents").exists()


def test_data_that_cannot_be_used_fail_with_our_line(service: Service, data: Path) -> None:
    output = service.run_pipeline(data, **{"source.path": str(data.parent / "absent.jsonl")}, code=None)
    assert "absent.jsonl" in output
    run = service.last_run()
    assert run["state"]["type"] == "FAILED"
    assert "absent.jsonl" in run["state"]["message"]
    assert "Traceback" not in output
    lines = [row["message"] for row in service.post("logs/filter", {"limit": 200, "sort": "TIMESTAMP_DESC"})]
    assert not [line for line in lines if "Traceback" in line]
    assert not list((service.home / "storage").glob("*"))
