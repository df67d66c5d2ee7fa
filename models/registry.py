"""Every classifier by name: the only place to register a built-in one."""

from collections.abc import Mapping

from fuseline.models.classifiers import decision, fusion, kiela, weighing
from fuseline.models.classifiers.attention import Attention
from fuseline.models.classifiers.averaging import AvgProbs, AvgTfidf
from fuseline.models.classifiers.boosting import Boosting
from fuseline.models.classifiers.concat_e2e import ConcatE2E
from fuseline.models.classifiers.concat_sets import ConcatPadded, ConcatPlaceholder
from fuseline.models.classifiers.deep_sets import DeepSets
from fuseline.models.classifiers.gmu import GMU
from fuseline.models.classifiers.image_cnn import ImageCNN
from fuseline.models.classifiers.policy import Policy
from fuseline.models.classifiers.soft_policy import SoftPolicy
from fuseline.models.classifiers.text_cnn import TextCNN
from fuseline.models.classifiers.tfidf_linear import TfidfLinear
from fuseline.models.classifiers.towers import Towers
from fuseline.models.features import Classifier
from fuseline.plugins import Registry

OURS: tuple[type[Classifier], ...] = (
    *kiela.CLASSIFIERS, Boosting, TfidfLinear, AvgProbs, AvgTfidf, GMU, TextCNN, ImageCNN, Towers, *fusion.CLASSIFIERS,
    ConcatE2E, Attention, DeepSets, ConcatPlaceholder, ConcatPadded,
    *decision.CLASSIFIERS, *weighing.CLASSIFIERS, Policy, SoftPolicy,
)  # fmt: skip
MODELS: Registry[type[Classifier]] = Registry("model", {classifier.kind: classifier for classifier in OURS})


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights ("" = trained here) of every classifier."""
    return [{"name": name, "summary": MODELS[name].summary, "weights": ""} for name in sorted(MODELS)]


def new_classifier(kind: str, options: Mapping[str, object]) -> Classifier:
    """Return an unfitted classifier; options that change no result may be among them."""
    return MODELS[kind](MODELS[kind].Config(**options))
