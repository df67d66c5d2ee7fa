"""Devices by name, and batches that shrink: seen on the processor, with a double that runs out of memory."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from fuseline.models.device import Batches, Device, forward, to_device, torch_device
from fuseline.models.encoders import get_encoder
from fuseline.models.encoders.efficientnet_lite import EfficientNetLiteConfig
from fuseline.models.errors import DeviceError
from fuseline.models.threads import limit_threads


class Full:
    """Doubles every number; has memory for `room` of them at once, and keeps the sizes it was asked for."""

    def __init__(self, room: int) -> None:
        self.room, self.sizes = room, list[int]()

    def __call__(self, items: Sequence[float]) -> NDArray[np.float32]:
        self.sizes.append(len(items))
        if len(items) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.array([[2 * item] for item in items], np.float32)


def test_batches_shrink_to_what_fits_and_remember_it(caplog: pytest.LogCaptureFixture) -> None:
    batches, run, items = Batches("net"), Full(3), [float(i) for i in range(14)]
    with caplog.at_level(logging.WARNING):
        assert batches(run, items).ravel().tolist() == [2 * item for item in items]
    assert run.sizes == [14, 7, 3, 3, 3, 3, 2]
    assert [record.message.split(": ")[1].split(",")[0] for record in caplog.records] == [
        "batches of 7 from now on", "batches of 3 from now on"
    ]  # fmt: skip
    run.sizes.clear()
    assert len(batches(run, items)) == 14
    assert run.sizes == [3, 3, 3, 3, 2]
    run.sizes.clear()
    assert batches(run, items[:2]).shape == (2, 1)
    assert run.sizes == [2]


def test_memory_that_shrinks_later_halves_again_without_repeating_what_was_done() -> None:
    batches, run = Batches("net"), Full(4)

    def shrinking(items: Sequence[float]) -> NDArray[np.float32]:
        if len(run.sizes) == 3:
            run.room = 1
        return run(items)

    assert batches(shrinking, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]).ravel().tolist() == [
        2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0
    ]  # fmt: skip
    assert run.sizes == [9, 4, 4, 1]


def test_one_item_that_does_not_fit_is_an_error_and_so_is_anything_else() -> None:
    batches, run = Batches("net"), Full(0)
    with pytest.raises(torch.OutOfMemoryError):
        batches(run, [1.0, 2.0])
    assert run.sizes == [2, 1]

    def broken(items: Sequence[float]) -> NDArray[np.float32]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Batches("net")(broken, [1.0])


def test_an_encoder_out_of_memory_gives_the_embeddings_of_any_other_split(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_threads(1)
    encoder: Any = get_encoder("efficientnet_lite2", EfficientNetLiteConfig(runtime="torch"))
    rng = np.random.default_rng(0)
    images = [encoder.prepare(rng.integers(0, 256, (60, 80, 3), np.uint8)) for _ in range(7)]
    one_by_one = np.concatenate([encoder.encode([image]) for image in images])
    np.testing.assert_allclose(encoder.encode(images), one_by_one, rtol=1e-3, atol=2e-5)
    embed, sizes = encoder._embed, list[int]()

    def full(items: Sequence[Any]) -> NDArray[np.float32]:
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("no memory")
        return np.asarray(embed(items))

    monkeypatch.setattr(encoder, "_embed", full)
    monkeypatch.setattr(encoder, "_batches", Batches("lite2"))
    np.testing.assert_allclose(encoder.encode(images), one_by_one, rtol=1e-3, atol=2e-5)
    assert sizes == [7, 3, *[1] * 7]


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of a machine without CUDA")
def test_devices_without_cuda() -> None:
    assert torch_device("auto") == torch_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=rf"device: expected one of \['cpu'\], got '{name}'; .*device: auto"):
            torch_device(name)


def test_devices_are_chosen_where_cuda_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the choice: no GPU is needed to see it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device("auto") == torch.device("cuda")
    assert torch_device("cuda:1") == torch.device("cuda:1")
    assert torch_device("cpu") == torch.device("cpu")
    assert not torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(DeviceError, match=r"\['cpu', 'cuda:0', 'cuda:1'\], got 'cuda:2'"):
        torch_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "CUDA"])
def test_other_names_are_refused_by_the_configuration(name: str) -> None:
    assert TypeAdapter(Device).validate_python("cuda:0") == "cuda:0"
    with pytest.raises(ValidationError):
        TypeAdapter(Device).validate_python(name)


def test_autocast_computes_in_the_shorter_type_and_only_then() -> None:
    torch.manual_seed(0)
    net = torch.nn.Linear(64, 8)
    batch = to_device(np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32), torch.device("cpu"))
    exact, short = forward(net, batch, "float32"), forward(net, batch, "bfloat16")
    assert (exact.dtype, short.dtype) == (torch.float32, torch.bfloat16)
    assert not exact.requires_grad
    np.testing.assert_allclose(short.float().numpy(), exact.numpy(), atol=0.05)
    rows = torch.cat([forward(net, batch[:2], "bfloat16"), forward(net, batch[2:], "bfloat16")])
    np.testing.assert_allclose(rows.float().numpy(), short.float().numpy(), atol=0.02)
