"""Winograd's convolutions against torch's."""

import pytest
import torch
from torch.nn import functional as F

from microprint.networks.winograd import convolved, suits, transformed

SIZES = [(3, 16, 24, 8, 12), (2, 64, 64, 32, 32), (1, 17, 5, 4, 4), (5, 32, 16, 16, 4)]  # images, channels, filters, pixels


def pair(images, channels, outputs, height, width):
    """Maps and both results with a gradient that tells all of it apart."""
    g = torch.Generator().manual_seed(0)
    maps, weight, bias = (torch.randn(size, generator=g) for size in ((images, channels, height, width), (outputs, channels, 3, 3), outputs))
    weight /= 3 * channels**0.5
    maps.requires_grad_()
    return maps, F.relu(F.conv2d(maps, weight, bias, padding=1)), convolved(maps, transformed(weight), bias)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_result_and_gradient_are_torchs(sizes, threads):
    torch.set_num_threads(threads)
    try:
        maps, expected, result = pair(*sizes)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
        away = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)) * ((expected > 0) == (result > 0))
        wanted, gradient = (torch.autograd.grad(y, maps, away)[0] for y in (expected, result))
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())


def test_memory_may_be_in_any_order_and_nan_stays():
    maps, weight = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0)), torch.ones(16, 16, 3, 3)
    filters, bias = transformed(weight), torch.zeros(16)
    turned = maps.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(convolved(maps, filters, bias), convolved(turned, filters, bias))
    maps[0, 0, 0, 0] = torch.nan
    result = convolved(maps, filters, bias)
    assert result[0, :, 0, 0].isnan().all() and not result[1].isnan().any()


def test_it_is_for_single_precision_and_whole_tiles():
    weight = torch.zeros(8, 16, 3, 3)
    assert suits(torch.zeros(1, 16, 8, 4), weight)
    assert not suits(torch.zeros(1, 16, 8, 6), weight)
    assert not suits(torch.zeros(1, 16, 8, 8, dtype=torch.bfloat16), weight.bfloat16())
    assert not suits(torch.zeros(1, 3, 8, 8), weight[:, :3])
    assert not suits(torch.zeros(1, 16, 8, 8, device="meta"), weight)
