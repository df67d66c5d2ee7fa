"""Which of our models stand for which published rows of papers Z, M, P and R: the one place that knows."""

from typing import NamedTuple


class Known(NamedTuple):
    """One row of a paper's tables, and the preset of conf/papers/ that stands for it.

    Several presets may stand for one published row; of a row without figures `row` is empty, of a row that no preset
    stands for `model` is, and `note` says why.
    """

    group: str
    model: str = ""  # name of the preset
    row: str = ""  # as published.csv has it
    label: str = ""  # where no published row names it
    note: str = ""  # how the model differs from the row, or why there is none


_POLICY, _FIXED, _SINGLE = "Decision policies", "Fixed decisions", "Single networks"
_FUSION, _MORE = "Fusion of features, without published figures", "Not in the paper's tables"
_VECTORS = "vectors of a frozen network in the place of VGG"
_RAW = "looks at vectors of networks in the place of raw input"

ZAHAVY = (
    Known(_SINGLE, "textcnn", "Z-textcnn"),
    Known(_SINGLE, "textcnn_softmax", "Z-textcnn", note="trained by the softmax loss"),
    Known(_SINGLE, "textcnn_100", "Z-textcnn", note="100 filters of each width"),
    Known(_SINGLE, "vgg", "Z-vgg"),
    Known(_SINGLE, "picture", "Z-vgg", note=_VECTORS),
    Known(_SINGLE, "vgg_frozen", "Z-vgg_frozen"),
    Known(_SINGLE, row="Z-ref-vgg_imagenet", note="on ImageNet: quoted by the paper, no model of its own"),
    Known(_POLICY, "policy_cp1_1", "Z-cp1-l1"),
    Known(_POLICY, "policy_cp1_2", "Z-cp1-l2"),
    Known(_POLICY, "policy_cp_all_2", "Z-cpall-l2"),
    Known(_POLICY, "policy_cp3_2", "Z-cp3-l2-q5"),
    Known(_POLICY, "policy_cp3_2_q1", "Z-cp3-l2-q1"),
    Known(_POLICY, "policy_cp3_2_q7", "Z-cp3-l2-q7"),
    Known(_POLICY, "policy_cp3_2_q10", "Z-cp3-l2-q10"),
    Known(_POLICY, "policy_image", "Z-policy_image", note=_RAW),
    Known(_POLICY, "policy_text", "Z-policy_text", note=_RAW),
    Known(_POLICY, "policy_both", "Z-policy_both", note=_RAW),
    Known(_FIXED, "fixed_mean", "Z-fixed_mean"),
    Known(_FIXED, "fixed_mean_logits", "Z-fixed_mean", note="of logits, not of probabilities"),
    Known(_FIXED, "fixed_max", "Z-fixed_max"),
    Known(_FIXED, "fixed_max_logits", "Z-fixed_max", note="of logits, not of probabilities"),
    Known(_FUSION, "concat_e2e", label="End to end, one layer"),
    Known(_FUSION, "concat_e2e_2", label="End to end, two layers"),
    Known(_FUSION, "concat_e2e_trained", label="End to end, from trained networks"),
    Known(_FUSION, "concat_e2e_vectors", label="End to end", note=_VECTORS),
    Known(_FUSION, "concat_e2e_vectors_trained", label="End to end, from a trained network", note=_VECTORS),
    Known(_FUSION, "concat_frozen", label="Multi-step, one layer", note=_VECTORS),
    Known(_FUSION, "concat_frozen_2", label="Multi-step, two layers", note=_VECTORS),
    Known(_FUSION, "concat_frozen_3", label="Multi-step, three layers", note=_VECTORS),
    Known(_FUSION, "highway_gate", label="Gating", note=_VECTORS),
    Known(_FUSION, "cross_product", label="Cross products", note=_VECTORS),
    Known(_MORE, "soft_policy", label="Soft policy (future work of the paper)"),
    Known(_MORE, "policy_first", label="Policy by the doubt of the first alone"),
    Known(_MORE, "avg_weighted", label="Weighted mean"),
    Known(_MORE, "ensemble", label="Ensemble by greedy selection"),
)

_IMAGES, _TEXTS, _PAIRED = "Images alone", "Texts alone", "Images and texts"

MILLER = (
    Known(_IMAGES, "inceptionv3", "M-inceptionv3"),
    Known(_IMAGES, "resnet50v2", "M-resnet50v2"),
    Known(_IMAGES, "mobilenetv2", "M-mobilenetv2"),
    Known(_TEXTS, "use-dnn", "M-use-dnn"),
    Known(_TEXTS, "bert-dnn", "M-bert-dnn"),
    Known(_PAIRED, "inceptionv3-use", "M-inceptionv3-use"),
    Known(_PAIRED, "inceptionv3-bert", "M-inceptionv3-bert"),
    Known(_PAIRED, "resnet50v2-use", "M-resnet50v2-use"),
    Known(_PAIRED, "resnet50v2-bert", "M-resnet50v2-bert"),
    Known(_PAIRED, "mobilenetv2-use", "M-mobilenetv2-use"),
    Known(_PAIRED, "mobilenetv2-bert", "M-mobilenetv2-bert"),
)

_JOINED, _WITH = "Several inputs, concatenated", "Several inputs, with attention"

PETFINDER = (
    Known("One input", "tabular", "P-model1"),
    Known("One input", "textual", "P-model2"),
    Known("One input", "visual", "P-model3"),
    Known(_JOINED, "concat", "P-model4"),
    Known(_JOINED, "concat_bins", "P-model5"),
    Known(_WITH, "attention", "P-model6"),
    Known(_WITH, "attention_ae", "P-model7", note="the autoencoder of texts reads vectors of a sentence encoder"),
    Known(_WITH, "attention_mmae", "P-model8", note="the autoencoder reads vectors of a sentence encoder for texts"),
    Known(_WITH, "attention_joint", label="Autoencoder trained with the network"),
    Known(_MORE, "avg_weighted", label="Weighted mean of the single inputs"),
    Known(_MORE, "ensemble", label="Ensemble by greedy selection"),
)


_REFERENCES, _SEEN, _READ, _SEEN_READ = "References", "Images", "Texts", "Images and texts"

REITER = (
    Known(_REFERENCES, row="R-ref34", note="Ads-Parallelity: quoted by the paper, no model of its own"),
    Known(_SEEN, "ads_o1", "R-O1"),
    Known(_SEEN, "ads_o2_max", "R-O2-max"),
    Known(_SEEN, "ads_o3_max", "R-O3-max"),
    Known(_SEEN, "ads_o4_max", "R-O4-max"),
    Known(_SEEN, "ads_o5_max", "R-O5-max"),
    Known(_SEEN, "ads_o6_max", "R-O6-max"),
    Known(_READ, "ads_o7", "R-O7"),
    Known(_READ, "ads_o8_max", "R-O8-max"),
    Known(_SEEN_READ, "ads_o9_max", "R-O9-max"),
    Known(_SEEN_READ, "ads_o9_min", "R-O9-min"),
    Known(_SEEN_READ, "ads_o9_sum", "R-O9-sum"),
    Known(_SEEN_READ, "ads_o10_max", "R-O10-max"),
    Known(_SEEN_READ, "ads_o10_min", "R-O10-min"),
    Known(_SEEN_READ, "ads_o10_sum", "R-O10-sum"),
    Known(_SEEN_READ, "ads_o11_max", "R-O11-max"),
    Known(_SEEN_READ, "ads_o11_min", "R-O11-min"),
    Known(_SEEN_READ, "ads_o11_sum", "R-O11-sum"),
    Known(_MORE, "ads_placeholder", label="Concatenation with placeholders"),
    Known(_MORE, "ads_padded", label="Concatenation, padded"),
    Known(_REFERENCES, row="R-ref1", note="MM-IMDb: quoted by the paper, no model of its own"),
    Known(_REFERENCES, row="R-ref12", note="MM-IMDb: quoted by the paper, no model of its own"),
    Known(_REFERENCES, row="R-ref26", note="MM-IMDb: quoted by the paper, no model of its own"),
    Known(_REFERENCES, row="R-ref11", note="MM-IMDb: quoted by the paper, no model of its own"),
    Known(_SEEN, "imdb_o1", "R-O1"),
    Known(_SEEN, "imdb_o2_max", "R-O2-max"),
    Known(_SEEN, "imdb_o3_max", "R-O3-max"),
    Known(_SEEN, "imdb_o4_max", "R-O4-max"),
    Known(_READ, "imdb_o5_max", "R-O5-max"),
    Known(_SEEN_READ, "imdb_o6_max", "R-O6-max"),
    Known(_SEEN_READ, "imdb_o6_min", "R-O6-min"),
    Known(_SEEN_READ, "imdb_o6_sum", "R-O6-sum"),
    Known(_SEEN_READ, "imdb_o7_max", "R-O7-max"),
    Known(_SEEN_READ, "imdb_o7_min", "R-O7-min"),
    Known(_SEEN_READ, "imdb_o7_sum", "R-O7-sum"),
    Known(_SEEN_READ, "imdb_o8_max", "R-O8-max"),
    Known(_SEEN_READ, "imdb_o8_min", "R-O8-min"),
    Known(_SEEN_READ, "imdb_o8_sum", "R-O8-sum"),
    Known(_SEEN_READ, "imdb_o9_max", "R-O9-max"),
    Known(_SEEN_READ, "imdb_o9_min", "R-O9-min"),
    Known(_SEEN_READ, "imdb_o9_sum", "R-O9-sum"),
    Known(_SEEN_READ, "imdb_o10_max", "R-O10-max"),
    Known(_SEEN_READ, "imdb_o10_min", "R-O10-min"),
    Known(_SEEN_READ, "imdb_o10_sum", "R-O10-sum"),
    Known(_MORE, "imdb_placeholder", label="Concatenation with placeholders"),
    Known(_MORE, "imdb_padded", label="Concatenation, padded"),
)


def models_of(rows: tuple[Known, ...]) -> dict[str, Known]:
    """Return the rows by the names of their presets."""
    return {one.model: one for one in rows if one.model}
