"""The best linear code of periodic fields."""

import pytest
import torch

from microprint.networks.spectral_code import SpectralCode, hartley


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def test_hartley_transform_is_its_own_inverse(generator):
    x = torch.randn(2, 3, 6, 6, 6, generator=generator)
    assert torch.allclose(hartley(hartley(x)) * 6**3, x, atol=1e-5)
    n = torch.arange(6)
    angles = 2 * torch.pi * (n[:, None] * n) / 6
    cas = torch.cos(angles) + torch.sin(angles)
    line = torch.zeros(6, 6, 6)
    line[:, 0, 0] = x[0, 0, :, 0, 0]
    assert torch.allclose(hartley(line)[:, 0, 0], cas @ line[:, 0, 0] / 6**3, atol=1e-6)


def test_full_spectral_code_loses_nothing_and_half_of_it_the_least(generator):
    fields = torch.randn(50, 1, 4, 4, 4, generator=generator)
    full = SpectralCode(64, 1).fit([fields[:20], fields[20:]])
    code = full.encode(fields)
    assert torch.allclose(full.decode(code, 4), fields, atol=1e-4)
    assert torch.allclose(code.square().mean(0), torch.ones(64), atol=1e-4)
    half = SpectralCode(32, 1).fit([fields])
    lost = (half.decode(half.encode(fields), 4) - fields).square().sum() / fields.square().sum()
    assert float(lost) == pytest.approx(float(half.unexplained), abs=1e-5)
    assert lost < 0.5


def test_code_of_a_smooth_field_does_not_depend_on_the_grid(generator):
    fields = torch.randn(30, 1, 8, 8, 8, generator=generator)
    smooth = hartley(fields)
    keep = torch.zeros(8, dtype=torch.bool)
    keep[[0, 1, 7]] = True
    mask = keep[:, None, None] & keep[:, None] & keep
    code = SpectralCode(27, 1).fit([hartley(smooth * mask) * 8**3])
    z = torch.randn(2, 27, generator=generator)
    assert torch.allclose(code.encode(code.decode(z, 12)), z, atol=1e-4)
    coarse, fine = code.decode(z, 8), code.decode(z, 16)
    assert torch.allclose(coarse, fine[..., ::2, ::2, ::2], atol=1e-4)


