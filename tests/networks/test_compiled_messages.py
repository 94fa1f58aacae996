"""Compiled messages between sites against tensor operations."""

import pytest
import torch

from microprint.networks import weight_net
from microprint.networks.compiled_messages import heard
from microprint.networks.weight_net import WeightNet


@pytest.fixture
def threads(request):
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("threads", [1, 2], indirect=True)
@pytest.mark.parametrize("sites", [5, 42])  # fewer than a site sees, and more
def test_weights_and_all_gradients_are_those_of_tensor_operations(sites, threads, monkeypatch):
    torch.manual_seed(0)
    net = WeightNet(12, 2)
    torch.nn.init.normal_(net.last[-1].weight)
    site, metric, outer = torch.rand(3, sites, 3).requires_grad_(), (0.5 + torch.rand(3, 3)).requires_grad_(), torch.randn(3, sites)
    results = []
    for compiled in (True, False):
        monkeypatch.setattr(weight_net, "compiled_here", lambda tensor, compiled=compiled: compiled)
        weight = net(site, metric)
        wanted = (site, metric, *net.parameters())
        results.append([weight, *torch.autograd.grad((outer * weight).sum(), wanted)])
    for mine, other in zip(*results, strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=1e-4 * float(other.detach().abs().max()) + 1e-9)


def test_a_table_is_read_by_cubic_polynomials():
    """A filter that is one itself is met exactly; so is the derivative by the place."""
    x = torch.linspace(0, 4, 5)
    table = torch.stack([x**3 - 2 * x, 3 * x**2 - 2], 1)[..., None]
    at = torch.tensor([0.0, 0.3, 2.0, 3.9, 4.0]).view(1, 5, 1).requires_grad_()
    other, nobody = torch.zeros(1, 5, 1, dtype=torch.long), torch.zeros(1, 5, 1)
    found = heard(torch.ones_like(at), at, other, nobody, table)
    expected = torch.nn.functional.silu(at**3 - 2 * at)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    slopes = [torch.autograd.grad(values.sum(), at)[0] for values in (found, expected)]
    assert torch.allclose(*slopes, rtol=1e-4, atol=1e-5)


def test_what_is_no_number_stays_so_in_its_volume_element_alone():
    torch.manual_seed(0)
    net, site = WeightNet(8, 1), torch.rand(2, 6, 3)
    torch.nn.init.normal_(net.last[-1].weight)
    site[0, 0, 0] = torch.nan
    weight = net(site, torch.ones(2, 3))
    assert weight[0].isnan().any() and not weight[1].isnan().any()
