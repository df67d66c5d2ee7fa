"""What Prefect keeps of a flow run: a configuration's name and digest, and no file."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from prefect.filesystems import RemoteFileSystem

from fuseline.flows.config import Config

P = ParamSpec("P")
R = TypeVar("R")


class RecordedFlow(Flow[P, R]):
    """A flow whose first parameter is `config`: it names the runs, and stands in their record by name and digest."""

    def __init__(self, fn: Callable[P, R], name: str, *, validate_parameters: bool = True) -> None:
        super().__init__(
            fn, name=name, flow_run_name=f"{name}: {{config}}", persist_result=False,
            validate_parameters=validate_parameters,
        )  # fmt: skip
        # Prefect pickles the exception of every flow that fails, whatever it was told; here it ends with the process.
        self.result_storage = RemoteFileSystem(basepath="memory://results")

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return what is recorded of the parameters."""
        small = {
            name: {"name": value.name, "digest": value.digest} if isinstance(value, Config) else value
            for name, value in parameters.items()
        }
        return super().serialize_parameters(small)


def recorded_flow(name: str, *, validate_parameters: bool = True) -> Callable[[Callable[P, R]], RecordedFlow[P, R]]:
    """Make a flow of a function."""
    return lambda fn: RecordedFlow(fn, name, validate_parameters=validate_parameters)
