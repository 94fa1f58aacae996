"""Sites of Voronoi tessellations, found back from the centres of the cells."""

import pytest
import torch

from microprint.microstructures import periodic
from microprint.microstructures.periodic import centres, fitted_sites, nearest_site, wrap


def test_fitted_sites_are_those_of_the_tessellation():
    """Centres of cells are not their sites; the fit comes several times nearer to these, and to the tessellation."""
    sites = torch.rand(6, 20, 3, generator=torch.Generator().manual_seed(4))
    cells = nearest_site(sites, 16)
    centre, _ = centres(cells, 20)
    fitted = fitted_sites(centre, 16)
    before, after = (float(wrap(s - sites).norm(dim=-1).mean()) for s in (centre, fitted))
    assert after < 0.5 * before
    before, after = (float((nearest_site(s, 16) != cells).float().mean()) for s in (centre, fitted))
    assert after < 0.5 * before


def test_centres_at_infinity_stay_nobody_s():
    centre = torch.rand(2, 8, 3, generator=torch.Generator().manual_seed(5))
    absent = torch.full((2, 3, 3), torch.inf)
    fitted = fitted_sites(torch.cat([centre, absent], 1), 12)
    assert torch.equal(fitted[:, 8:], absent)
    assert torch.equal(fitted[:, :8], fitted_sites(centre, 12))


@pytest.mark.parametrize("count, edge", [(5, 6), (7, 9), (40, 12)])
def test_compiled_cells_are_those_of_tensor_operations(count, edge, monkeypatch):
    generator = torch.Generator().manual_seed(count)
    sites, weight = torch.rand(3, count, 3, generator=generator), 0.02 * torch.rand(3, count, generator=generator)
    if count > 2:
        sites[:, 1], weight[:, 2] = torch.inf, -torch.inf  # nobody's
    stretch = torch.tensor([0.6, 1.2, 1.3])
    compiled = nearest_site(sites, edge, weight, stretch), *centres(nearest_site(sites, edge), count)
    monkeypatch.setattr(periodic, "compiled_here", lambda tensor: False)
    plain = nearest_site(sites, edge, weight, stretch), *centres(nearest_site(sites, edge), count)
    assert torch.equal(compiled[0], plain[0]) and torch.equal(compiled[2], plain[2])
    torch.testing.assert_close(wrap(compiled[1] - plain[1])[plain[2] > 0], torch.zeros(int((plain[2] > 0).sum()), 3), atol=1e-5, rtol=0)


def test_sums_over_grains_of_functions_of_each_grain(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    ids, along = torch.randint(5, (2, 4, 4, 4), generator=generator), torch.rand(2, 5, 3, 2, 4, generator=generator)
    expected = torch.zeros(2, 5, 7)
    for b, i, j, k in torch.cartesian_prod(torch.arange(2), *3 * [torch.arange(4)]).tolist():
        values = along[b, ids[b, i, j, k]]
        expected[b, ids[b, i, j, k]] += torch.cat([values[0, :, i], values[1, :, j], values[2, :, k], torch.ones(1)])
    torch.testing.assert_close(periodic.sums_over_grains(ids, along, 5), expected)
    monkeypatch.setattr(periodic, "compiled_here", lambda tensor: False)
    torch.testing.assert_close(periodic.sums_over_grains(ids, along, 5), expected)
