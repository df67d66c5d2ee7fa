"""Training by gradient steps: `Trainer` is the only torch loop, `TrainingConfig` its options."""

from fuseline.models.training.config import ParameterGroup, TrainingConfig
from fuseline.models.training.dropout import Gather
from fuseline.models.training.loop import Family
from fuseline.models.training.trainer import Trained, Trainer

__all__ = ["Family", "Gather", "ParameterGroup", "Trained", "Trainer", "TrainingConfig"]
