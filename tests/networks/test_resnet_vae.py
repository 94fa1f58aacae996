"""S1's network: size as published, shapes at every edge, and what the switches change."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from microprint import orientations
from microprint.microstructures.polycrystal import generate
from microprint.networks.losses import spectral_loss
from microprint.networks.resnet_vae import BLOCKS, LIFT, NARROW, ResNetVAE


def small(**options):
    torch.manual_seed(0)
    return ResNetVAE(8, "resnet12", latent_dim=16, hidden=32, width=4, **options).eval()


def test_resnet18_has_the_published_size():
    with torch.device("meta"):
        network = ResNetVAE(64, "resnet18")
    dense = network.to_hidden[1].weight.numel()
    assert dense == 2**28  # 268 million in each of two dense layers
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == 606


@pytest.mark.parametrize("edge", [4, 8, 16, 32])
@pytest.mark.parametrize("depth", BLOCKS)
def test_output_has_the_input_s_shape(edge, depth):
    network = ResNetVAE(edge, depth, latent_dim=8, hidden=16, width=2).eval()
    x = torch.rand(2, 3, edge, edge, edge)
    mean, log_variance = network.encode(x)
    assert mean.shape == log_variance.shape == (2, 8)
    channels = network.decode(mean)
    assert channels.shape == x.shape and 0 < channels.min() and channels.max() < 1


def test_losses_as_written_and_as_coded():
    x = torch.rand(3, 3, 8, 8, 8)
    for coded in (False, True):
        network = small(coded=coded, kl_weight=0.5)
        with torch.no_grad():
            losses = network.losses({"channels": x}, torch.Generator().manual_seed(2))
            mean, log_variance = network.encode(x)
            noise = torch.randn((1 if coded else 3, 16), generator=torch.Generator().manual_seed(2))
            logits = network.logits(mean + torch.exp(log_variance / 2) * noise)
            output = torch.sigmoid(logits)
            score, target = (x, output) if coded else (logits, x)
            entropy = -(target * torch.sigmoid(score).log() + (1 - target) * torch.sigmoid(-score).log()).mean()
        assert float(losses["cross_entropy"]) == pytest.approx(float(entropy))
        assert float(losses["spectral"]) == pytest.approx(float(spectral_loss(output, x)))
        total = 0.999 * losses["cross_entropy"] + 0.001 * losses["spectral"] + 0.5 * losses["kl"]
        assert float(losses["loss"]) == pytest.approx(float(total))


def test_swapped_cross_entropy_is_linear_in_the_reconstruction():
    data, low, high = torch.rand(3, 50, generator=torch.Generator().manual_seed(1)).unbind(0)
    middle = binary_cross_entropy_with_logits(data, (low + high) / 2)
    ends = (binary_cross_entropy_with_logits(data, low) + binary_cross_entropy_with_logits(data, high)) / 2
    assert middle == pytest.approx(float(ends), rel=1e-5)
    assert binary_cross_entropy_with_logits(data, torch.ones(50)) < binary_cross_entropy_with_logits(data, data)


def test_the_network_learns_eight_volume_elements():
    e = generate(8, 8, "cubic", torch.Generator().manual_seed(1), morphology="large")
    x, truth = orientations.expand(e.grain_id, orientations.euler_channels(e.quaternion)), e.orientations()
    torch.manual_seed(0)
    network, noise = ResNetVAE(8, "resnet12", latent_dim=32, hidden=128, width=8), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3, amsgrad=True)
    for _ in range(120):
        optimizer.zero_grad()
        network.losses({"channels": x}, noise)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        drawn = network.eval().decode(network.encode(x)[0])
    angle = orientations.disorientation(orientations.from_euler_channels(drawn.movedim(1, -1)), truth, "cubic")
    assert torch.rad2deg(angle).mean() < 34  # a constant is 41 degrees off
    assert (drawn - x).square().mean() < 0.35 * (x - x.mean((0, 2, 3, 4), keepdim=True)).square().mean()


def test_the_network_begins_open_and_narrow():
    network = small()
    x = torch.rand(5, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    mean, log_variance = network.encode(x)
    assert 0.02 < mean.std(0).mean() and (log_variance == NARROW).all()
    before = network.reconstruct[:-1](network.from_latent(mean).unflatten(1, network.map_shape))
    assert (before > 0).float().mean() > 0.95  # of the ReLU through which all must go
    assert torch.allclose(network.logits(mean), before - LIFT, atol=1e-5)
