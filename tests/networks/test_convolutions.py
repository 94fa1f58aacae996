"""Convolutions of periodic and of enlarged maps against torch's."""

import pytest
import torch
from torch.nn import functional as F

from microprint.networks.convolutions import EnlargingConvolution, PeriodicConvolution, convolve_enlarged, wrapped


@pytest.mark.parametrize("size", [(2, 3, 6, 5), (1, 1, 1, 4), (3, 8, 2, 2)])
@pytest.mark.parametrize("kind", [PeriodicConvolution, EnlargingConvolution])
def test_answers_and_gradients_are_those_of_torchs_on_enlarged_maps(kind, size):
    torch.manual_seed(0)
    ours, theirs = kind(size[1], 4).double(), torch.nn.Conv2d(size[1], 4, 3, padding=1, padding_mode="circular").double()
    theirs.load_state_dict(ours.state_dict())
    maps = torch.randn(size, dtype=torch.float64, requires_grad=True)
    results = [ours(maps), theirs(F.interpolate(maps, scale_factor=2) if kind is EnlargingConvolution else maps)]
    away = torch.randn_like(results[1])
    gradients = [torch.autograd.grad(y, (maps, *layer.parameters()), away) for y, layer in zip(results, (ours, theirs))]
    for value, wanted in zip((results[0], *gradients[0]), (results[1], *gradients[1])):
        torch.testing.assert_close(value, wanted)


@pytest.mark.parametrize("kernel, padding", [(3, 1), (4, 3), (4, 2), (2, 0), (5, 4), (1, 0), (8, 7), (3, 2)])
@pytest.mark.parametrize("size", [(2, 3, 6, 5), (1, 2, 3, 4, 5)])
def test_zeros_may_be_around_enlarged_maps(size, kernel, padding):
    torch.manual_seed(0)
    axes, convolve = len(size) - 2, {4: F.conv2d, 5: F.conv3d}[len(size)]
    maps, weight, bias = (torch.randn(n, dtype=torch.float64, requires_grad=True) for n in (size, (4, size[1], *axes * [kernel]), (4,)))
    results = [convolve_enlarged(maps, weight, bias, padding), convolve(F.interpolate(maps, scale_factor=2), weight, bias, padding=padding)]
    away = torch.randn_like(results[1])
    gradients = [torch.autograd.grad(y, (maps, weight, bias), away) for y in results]
    for value, wanted in zip((results[0], *gradients[0]), (results[1], *gradients[1])):
        torch.testing.assert_close(value, wanted)


@pytest.mark.parametrize("size", [(2, 1, 1, 4), (1, 3, 2, 3, 4)])
def test_what_is_wrapped_has_torchs_gradient(size):
    maps = torch.randn(size, dtype=torch.float64, requires_grad=True)
    results = [wrapped(maps), F.pad(maps, (1, 1) * (len(size) - 2), mode="circular")]
    assert torch.equal(*results)
    away = torch.randn_like(results[0])
    torch.testing.assert_close(*(torch.autograd.grad(y, maps, away)[0] for y in results))


def test_mixed_precision_is_taken_as_torchs_is():
    maps = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    for kind in (PeriodicConvolution, EnlargingConvolution):
        with torch.autocast("cpu", torch.bfloat16):
            result = kind(8, 4)(maps)
            assert result.dtype == torch.bfloat16
            result.float().square().sum().backward()
