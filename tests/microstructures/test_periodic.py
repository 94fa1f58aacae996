"""Sites of Voronoi tessellations, found back from the centres of the cells."""

import torch

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
