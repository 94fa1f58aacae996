"""Our network: begins as the best linear code, is periodic, and takes any edge."""

import pytest
import torch

from microprint.networks.fingerprint_net import FingerprintNet
from microprint.networks.losses import gaussian_negative_log_likelihood, kl_divergence
from microprint.networks.spectral_code import SpectralCode, hartley


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def network(fields, numbers=40, trained=True):
    torch.manual_seed(1)
    net = FingerprintNet(fields.shape[1], numbers, levels=1, width=4, blocks=1, widest=8).eval()
    net.code.fit([fields])
    if trained:
        for layer in (net.encoder[-1], net.decoder[-1]):
            torch.nn.init.normal_(layer.weight, std=0.3)
    return net


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


def test_untrained_network_is_the_linear_code(generator):
    fields = torch.randn(8, 2, 8, 8, 8, generator=generator)
    net = network(fields, trained=False)
    mean, _ = net.encode(fields)
    assert torch.equal(mean, net.code.encode(fields))
    assert torch.equal(net.decode(mean, 8), net.code.decode(mean, 8))


def test_periodic_shift_of_the_input_shifts_the_reconstruction(generator):
    fields = torch.randn(8, 2, 8, 8, 8, generator=generator)
    fields = fields + 3 * fields.roll(1, 2) + 3 * fields.roll(1, 3)
    net = network(fields, numbers=2 * 8**3)  # all modes, so that no pair of them is cut apart
    with torch.no_grad():
        plain, _ = net.encode(fields[:2])
        moved, _ = net.encode(fields[:2].roll((2, 4, 6), (2, 3, 4)))
        shifted = net.decode(plain, 8).roll((2, 4, 6), (2, 3, 4))
        assert torch.allclose(net.decode(moved, 8), shifted, atol=2e-4)
        assert not torch.allclose(net.decode(moved, 8), net.decode(plain, 8), atol=0.1)


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


def test_losses_are_the_evidence_lower_bound(generator):
    fields = torch.randn(8, 2, 8, 8, 8, generator=generator)
    net = network(fields)
    with torch.no_grad():
        losses = net.losses({"channels": fields}, torch.Generator().manual_seed(4))
        mean, log_variance = net.encode(fields)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(4))
        output = net.decode(mean + noise * torch.exp(log_variance / 2), 8)
    likelihood = gaussian_negative_log_likelihood(output, fields)
    kl = kl_divergence(mean, log_variance).sum() / fields.numel()
    assert float(losses["loss"].detach()) == pytest.approx(float(likelihood + kl.detach()), rel=1e-5)
