"""Autoencoders: the paper's equations by hand, a training against torch alone, missing inputs, and refusals."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fuseline.models.columns import Codes, Dense, Pixels
from fuseline.models.encoders.autoencoder import Autoencoder, AutoencoderConfig
from fuseline.models.encoders.autoencoder_layers import pooled
from fuseline.models.errors import CheckpointError
from fuseline.models.features import Block
from tests.models.synthetic import Blocks

QUICK: dict[str, Any] = {"hidden": 7, "inner": 5, "code": 3, "epochs": 2, "device": "cpu"}


def block(n: int = 40, *, present: dict[str, np.ndarray] | None = None, missing: np.ndarray | None = None) -> Block:
    """Documents of two inputs that follow from the same two numbers."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 2))
    columns = {
        name: Dense(
            (z @ rng.normal(size=(2, D)) * 3 + 1 + 0.1 * rng.normal(size=(n, D))).astype(np.float32),
            (present or {}).get(name, np.ones(n, bool)),
            missing if name == "embed/columns" else None,
        )
        for name, D in (("embed/columns", 4), ("embed/image", 6))
    }
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array([[]] * n, pa.list_(pa.string())), columns)


def fitted(data: Block, *, seed: int = 0, rows: int = 10_000, **options: Any) -> Autoencoder:
    """Return an autoencoder of both inputs."""
    config = AutoencoderConfig(**{"inputs": ("image", "columns"), **QUICK, **options})
    return Autoencoder(config).fit(Blocks(data, rows), seed=seed)


def linear(network: Any, prefix: str, x: np.ndarray) -> np.ndarray:
    """Pass x through saved layers in numpy, rectified between them."""
    state = {k: v.numpy() for k, v in network.state_dict().items() if k.startswith(prefix)}
    numbers = sorted({int(k.removeprefix(prefix).split(".")[0]) for k in state})
    for number in numbers:
        x = x @ state[f"{prefix}{number}.weight"].T + state[f"{prefix}{number}.bias"]
        x = np.maximum(x, 0) if number != numbers[-1] else x
    return x


@pytest.mark.parametrize("layout", ["inner", "between"])
def test_every_input_is_decoded_from_the_codes_of_all(layout):
    """Equations 5 to 7 in numpy: x = (X - mean) / deviation, h = [f1(x1); f2(x2)], mean squared error of g_i(h)."""
    data = block()
    one = fitted(data, layout=layout, weights=(1.0, 0.25))
    X = {name: data.columns[f"embed/{name}"].values.astype(np.float64) for name in ("columns", "image")}
    x = {name: (values - values.mean(0)) / values.std(0) for name, values in X.items()}
    h = np.concatenate([linear(one.network, f"encoders.{name}.", x[name]) for name in ("columns", "image")], axis=1)
    np.testing.assert_allclose(one.codes(data), h, rtol=1e-4, atol=1e-5)
    assert h.shape == (40, 6)
    errors = {name: ((linear(one.network, f"decoders.{name}.", h) - x[name]) ** 2).mean(axis=1) for name in x}
    for name, expected in errors.items():
        error, spread = one.errors(data)[f"embed/{name}"]
        np.testing.assert_allclose(error, expected, rtol=1e-3)
        np.testing.assert_allclose(spread, (x[name] ** 2).mean(axis=1), rtol=1e-3, atol=1e-5)
    batch = {key: torch.from_numpy(array) for key, array in one.gather(data)(np.arange(40)).items()}
    total = one.network(batch).detach().numpy()
    np.testing.assert_allclose(total, errors["image"] + 0.25 * errors["columns"], rtol=1e-3)


def test_the_layers_are_the_papers():
    """Hidden units 512-64-64-512: the code is the first 64, or a layer of its own between both."""
    sizes = {}
    for layout in ("inner", "between"):
        config = AutoencoderConfig(inputs=("image",), layout=layout, code=64, epochs=1, batch=40)
        network = Autoencoder(config).fit(Blocks(block()), seed=0).network
        weights = [v.shape for k, v in network.state_dict().items() if k.endswith("weight")]
        sizes[layout] = [tuple(shape) for shape in weights]
    assert sizes["inner"] == [(512, 6), (64, 512), (64, 64), (512, 64), (6, 512)]
    assert sizes["between"] == [(512, 6), (64, 512), (64, 64), (64, 64), (512, 64), (6, 512)]


def test_of_one_input_it_is_a_plain_autoencoder():
    """Three steps of RMSprop over all documents, written in torch alone, give the same weights."""
    data = block()
    one = fitted(data, inputs=("image",), epochs=3, batch=40, seed=4)
    X = torch.from_numpy(data.columns["embed/image"].values)
    x = ((X.double() - X.double().mean(0)) / X.double().std(0, correction=0)).float()
    with torch.random.fork_rng([]):
        torch.manual_seed(4)
        encode = torch.nn.Sequential(torch.nn.Linear(6, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
        decode = torch.nn.Sequential(
            torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 6)
        )
        optimizer = torch.optim.RMSprop([*encode.parameters(), *decode.parameters()], lr=0.001)
        losses = []
        for _ in range(3):
            loss = ((decode(encode(x)) - x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert one.facts["loss_per_epoch"] == pytest.approx(losses, rel=1e-4)
    np.testing.assert_allclose(one.codes(data), encode(x).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_it_learns_what_inputs_have_in_common():
    """Both inputs follow from two numbers, which a code of two holds: an eighth of the mean's error is left at most."""
    one = fitted(block(400), hidden=64, inner=16, code=2, epochs=60, lr=0.003)
    for error, spread in one.errors(block(400)).values():
        assert error.sum() < spread.sum() / 8


def test_a_missing_input_has_zeros_as_code_and_no_error():
    has = np.arange(40) % 3 > 0
    data = block(present={"embed/image": has, "embed/columns": np.arange(40) % 5 > 0})
    one = fitted(data)
    assert one.facts["documents"] == 37  # 0, 15 and 30 have neither
    codes = one.codes(data)
    assert not codes[~has, 3:].any()
    assert codes[has, 3:].any(axis=1).all()
    assert not one.errors(data)["embed/image"][0][~has].any()
    other = block(present={"embed/image": has, "embed/columns": np.arange(40) % 5 > 0})
    other.columns["embed/image"].values[~has] = 1e30
    np.testing.assert_array_equal(one.codes(other), codes)
    np.testing.assert_array_equal(fitted(other).codes(other), codes)


def test_missing_cells_stay_missing():
    """A value that is not known is the mean for the encoder, and no part of the error."""
    missing = np.zeros((40, 4), bool)
    missing[::2, 1] = True
    one = fitted(block(missing=missing))
    x, known = one.network.numbers(
        {k: torch.from_numpy(v) for k, v in one.gather(block(missing=missing))(np.arange(40)).items()}
    )["columns"]
    values = block().columns["embed/columns"].values[1::2, 1].astype(np.float64)
    np.testing.assert_allclose(x[1::2, 1], (values - values.mean()) / values.std(), rtol=1e-4)
    assert not x[::2, 1].any()
    np.testing.assert_array_equal(known.numpy(), ~missing)


def test_odd_numbers_do_no_harm():
    data = block()
    data.columns["embed/columns"].values[:, 2] = 5  # constant
    data.columns["embed/columns"].values[3, 0] = np.nan
    data.columns["embed/image"].values[4, 0] = np.inf
    for scaling in ("standard", "range"):
        one = fitted(data, scaling=scaling)
        assert np.isfinite(one.codes(data)).all()
        assert np.isfinite(one.facts["loss_per_epoch"]).all()
        assert not one.codes(data)[4, 3:].any()
    assert float(one.network.get_buffer("scale_columns")[2]) == 1
    span = np.ptp(np.delete(data.columns["embed/columns"].values[:, 1], 3))
    assert float(one.network.get_buffer("scale_columns")[1]) == pytest.approx(span, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 40), size=st.integers(1, 40))
def test_codes_do_not_depend_on_how_documents_are_cut(rows, size):
    data, one = block(), FITTED
    expected = one.codes(data)
    one.config = one.config.model_copy(update={"batch": size})
    parts = [one.codes(part) for part in Blocks(data, rows).blocks()]
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-5, atol=1e-6)


FITTED = fitted(block())


def test_equal_seeds_give_equal_bits_and_other_seeds_others():
    one, other, third = fitted(block()), fitted(block(), rows=7), fitted(block(), seed=1)
    np.testing.assert_array_equal(one.codes(block()), other.codes(block()))
    assert (one.codes(block()) != third.codes(block())).any()


def test_pictures_are_averaged():
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (5, 4, 6, 3), np.uint8)
    expected = pictures.reshape(5, 2, 2, 2, 3, 3).mean(axis=(2, 4)) / 255
    found = pooled(torch.from_numpy(pictures), 2).numpy().reshape(5, 3, 2, 2).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    column = Pixels((4, 6, 3), pictures.__getitem__, np.arange(5), np.array([True, True, True, True, False]))
    ids, labels = pa.array(list("abcde")), pa.array([[]] * 5, pa.list_(pa.string()))
    data = Block(ids, labels, {"embed/pixels": column})
    one = fitted(data, inputs=("pixels",), pooled=2)
    x = expected.transpose(0, 3, 1, 2).reshape(5, 12)
    np.testing.assert_allclose(one.network.get_buffer("center_pixels"), x[:4].mean(axis=0), rtol=1e-5)
    assert not one.codes(data)[4].any()
    np.testing.assert_allclose(
        one.codes(data)[:4], linear(one.network, "encoders.pixels.", x[:4] - x[:4].mean(0)), rtol=1e-3, atol=1e-5
    )


def test_what_is_too_large_is_refused_with_its_size():
    """Pictures of 512 x 512 as they are: 786,432 numbers, 402,653,184 weights ahead of them and as many behind."""
    nothing = np.zeros((2, 512, 512, 3), np.uint8)
    column = Pixels((512, 512, 3), nothing.__getitem__, np.arange(2), np.ones(2, bool))
    data = Block(pa.array(["a", "b"]), pa.array([[]] * 2, pa.list_(pa.string())), {"embed/pixels": column})
    config = AutoencoderConfig(inputs=("pixels",), pooled=512)
    with pytest.raises(ValueError, match=r"at most 100,000,000 weights, got 806,163,584; lower `pooled`"):
        Autoencoder(config).fit(Blocks(data), seed=0)


def test_a_checkpoint_gives_the_same_codes(tmp_path):
    one = fitted(block(), layout="between", weights=(2.0, 1.0))
    one.save(tmp_path)
    other = Autoencoder.load(tmp_path)
    np.testing.assert_array_equal(other.codes(block()), one.codes(block()))
    assert other.facts == one.facts
    assert other.sizes == one.sizes
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"code": 3', '"code": 4'))
    with pytest.raises(CheckpointError, match="expected float32"):
        Autoencoder.load(tmp_path)


def test_a_size_that_was_allowed_is_loaded_again(tmp_path, monkeypatch):
    """The limit is no part of a checkpoint: what was trained beyond the default one could not be used."""
    one = fitted(block())
    one.save(tmp_path)
    monkeypatch.setattr(AutoencoderConfig.model_fields["max_weights"], "default", 1)
    AutoencoderConfig.model_rebuild(force=True)
    try:
        with pytest.raises(ValueError, match="at most 1 weights"):
            fitted(block())
        np.testing.assert_array_equal(Autoencoder.load(tmp_path).codes(block()), one.codes(block()))
    finally:
        monkeypatch.undo()
        AutoencoderConfig.model_rebuild(force=True)


def test_no_document_with_an_input_is_an_error():
    nothing = np.zeros(40, bool)
    with pytest.raises(ValueError, match=r"expected training documents with any of \['embed/image'\], got none"):
        fitted(block(present={"embed/image": nothing}), inputs=("image",))


def test_other_columns_are_refused():
    data = Block(pa.array(["a"]), pa.array([[]], pa.list_(pa.string())),
                 {"embed/image": Codes(np.zeros((1, 2), np.uint8), np.ones(1, bool))})  # fmt: skip
    with pytest.raises(ValueError, match="expected vectors or pictures, got 'codes'"):
        fitted(data, inputs=("image",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": (1.0,), "inputs": ("a", "b")}, r"weights: expected one for each of \['a', 'b'\], got 1 numbers"),
        ({"weights": (-1.0,)}, "weights: expected numbers from 0"),
        ({"weights": (0.0,)}, "not all 0"),
        ({"loss": "sigmoid"}, "loss: expected 'auto' without labels, got 'sigmoid'"),
        ({"select": "accuracy"}, "select: expected None without labels"),
        ({"inputs": ("a.b", "a_b")}, "differ in more than"),
        ({"inputs": ()}, "inputs"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        AutoencoderConfig(**options)
