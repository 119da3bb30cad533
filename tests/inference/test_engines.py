import numpy as np
import pytest
import torch

from resnetkit.data.batches import normalise
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import ResourceError
from resnetkit.inference.engines import TorchEngine
from resnetkit.models.catalog import build
from resnetkit.models.decision import softmax
from resnetkit.runtime import Runtime

PREPROCESS = Preprocess.for_size(32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build("resnet8", num_classes=5)
    with torch.no_grad():
        network.fc.weight.mul_(20)  # probabilities far from uniform, so that differences would show
    return network


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, size=(17, 32, 32, 3), dtype=np.uint8)


def test_normalise_equals_torchvision_bit_for_bit(pixels):
    from torchvision.transforms import functional

    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    expected = functional.normalize(
        functional.convert_image_dtype(images, torch.float), PREPROCESS.mean, PREPROCESS.std
    )
    for memory_format in (torch.channels_last, torch.contiguous_format):
        ours = normalise(torch.from_numpy(pixels), PREPROCESS, memory_format=memory_format)
        assert torch.equal(ours, expected)
        assert ours.is_contiguous(memory_format=memory_format)


def test_normalise_takes_grey_pictures_that_are_not_square():
    grey = torch.full((2, 4, 6, 1), 255, dtype=torch.uint8)
    made = normalise(grey, Preprocess.for_size(6, channels=1), memory_format=torch.contiguous_format)
    assert made.shape == (2, 1, 4, 6)
    assert torch.equal(made, torch.full((2, 1, 4, 6), 2.0))


def test_logits_equal_the_plain_network(network, pixels):
    logits = TorchEngine(network, PREPROCESS, Runtime(threads=2)).logits(pixels)
    images = normalise(torch.from_numpy(pixels), PREPROCESS, memory_format=torch.contiguous_format)
    with torch.inference_mode():
        expected = network.eval()(images).numpy()
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_answer_does_not_depend_on_the_batch(network, pixels, dtype):
    engine = TorchEngine(network, PREPROCESS, Runtime(dtype=dtype, threads=2))
    together = softmax(engine.logits(pixels))
    for size in (1, 2, 5):
        apart = [softmax(engine.logits(pixels[i : i + size])) for i in range(0, len(pixels), size)]
        # bf16 keeps 8 bits of mantissa: there the kernels of other batch sizes may round differently.
        np.testing.assert_allclose(np.concatenate(apart), together, atol=1e-5 if dtype == "fp32" else 2e-2)
        assert (np.concatenate(apart).argmax(axis=1) == together.argmax(axis=1)).all()


def test_read_only_pixels_are_taken_without_a_warning(network, pixels):
    locked = pixels[:2].copy()
    locked.flags.writeable = False
    TorchEngine(network, PREPROCESS, Runtime(threads=2)).logits(locked)


class SmallMemory(torch.nn.Module):
    """Runs out of memory above `room` pictures, as a GPU does."""

    def __init__(self, room):
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, images):
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images.mean(dim=(2, 3))


def test_out_of_memory_halves_the_batch_and_remembers_it(pixels):
    network = SmallMemory(room=5)
    engine = TorchEngine(network, PREPROCESS, Runtime())
    expected = TorchEngine(SmallMemory(room=99), PREPROCESS, Runtime()).logits(pixels)
    np.testing.assert_array_equal(engine.logits(pixels), expected)
    assert network.sizes == [17, 8, 4, 4, 4, 4, 1]
    engine.logits(pixels[:8])
    assert network.sizes[7:] == [4, 4]
    assert engine.batch_size == 4


def test_when_not_even_one_picture_fits_the_error_says_what_to_do(pixels):
    with pytest.raises(ResourceError, match="--device cpu"):
        TorchEngine(SmallMemory(room=0), PREPROCESS, Runtime()).logits(pixels)
