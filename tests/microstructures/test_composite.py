"""Composites: the filter against a direct convolution, exact volume fractions, anisotropy."""

import numpy as np
import pytest
import torch

from microprint.microstructures import composite


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_there_are_64_filters_of_four_widths():
    widths = composite.filters((0.5, 1.0, 2.0, 3.5))
    assert widths.shape == (64, 3) and len(widths.unique(dim=0)) == 64


@pytest.mark.parametrize("edge", [12, 13])
def test_smoothing_is_the_periodic_convolution_with_a_gaussian(edge):
    field = torch.rand((1, edge, edge, edge), generator=generator(), dtype=torch.float64)
    widths = torch.tensor([[1.0, 1.5, 1.2]], dtype=torch.float64)
    expected = field[0].numpy()
    for axis, width in enumerate(widths[0].tolist()):
        reach = np.arange(-8 * edge, 8 * edge + 1)
        kernel = np.exp(-0.5 * (reach / width) ** 2) / (width * np.sqrt(2 * np.pi))
        expected = sum(k * np.roll(expected, r, axis) for k, r in zip(kernel, reach) if k > 1e-18)
    np.testing.assert_allclose(composite.smooth(field, widths)[0].numpy(), expected, atol=2e-4)


def test_smoothing_keeps_the_mean():
    field = torch.rand((2, 9, 9, 9), generator=generator())
    smooth = composite.smooth(field, torch.tensor([[0.5, 2.0, 3.5], [1.0, 1.0, 1.0]]))
    torch.testing.assert_close(smooth.mean((1, 2, 3)), field.mean((1, 2, 3)))


def test_cutting_gives_the_fraction_exactly_even_of_a_constant_field():
    field = torch.stack([torch.rand((6, 6, 6), generator=generator()), torch.ones(6, 6, 6)])
    phase = composite.cut(field, torch.tensor([0.25, 0.5]))
    assert phase.dtype == torch.uint8 and phase.sum((1, 2, 3)).tolist() == [54, 108]
    assert field[0][phase[0] == 1].min() >= field[0][phase[0] == 0].max()


def test_composites_are_reproducible_within_bounds_and_elongated_along_the_wide_axis():
    widths = torch.tensor([[3.5, 0.5, 0.5]]).repeat(20, 1)
    made, again = (composite.generate(widths, 27, generator(1), fractions=(0.3, 0.4)) for _ in range(2))
    assert torch.equal(made.phase, again.phase)
    assert 0.3 <= made.volume_fraction.min() and made.volume_fraction.max() <= 0.4
    changes = [(made.phase != made.phase.roll(1, axis)).float().mean().item() for axis in (1, 2, 3)]
    assert changes[0] < 0.5 * changes[1] and changes[1] == pytest.approx(changes[2], rel=0.1)
