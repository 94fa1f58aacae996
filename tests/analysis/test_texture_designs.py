"""Designs of micrographs: the prior on codes whose law is known, and the correction of drawings whose property is."""

import numpy as np
import pytest
import torch

from microprint.analysis import texture_designs
from microprint.analysis.texture_designs import Design, TexturePrior, design, read_and_simulate, shortlist
from microprint.systems.micrograph_properties import METAL

LOW, HIGH = 100e9, 200e9  # Pa
DARK, BRIGHT = 0.2, 0.8
WHOLE = METAL[0] / (1 - METAL[1] ** 2)  # modulus without graphite


def value_of(z):
    """Property, Pa, whose logarithm is a straight line in the first number."""
    return np.sqrt(LOW * HIGH) * (HIGH / LOW) ** (z / 4)


@pytest.fixture(scope="module")
def prior():
    """Of codes whose first number tells the property; the second is free."""
    rng = torch.Generator().manual_seed(0)
    z = torch.randn((400, 2), generator=rng)
    return TexturePrior.fit(z, torch.full_like(z, -6.0), value_of(z[:, 0]), torch.arange(400) % 5 == 0, seed=0)


@pytest.mark.parametrize("first", [-1.5, 0.0, 1.5])
def test_the_prior_finds_the_law_of_the_codes(prior, first):
    z = prior.sample(value_of(first), 2000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(z.mean(0), torch.tensor([first, 0.0]), atol=0.2, rtol=0)
    assert z[:, 0].std() < 0.3 and z[:, 1].std().item() == pytest.approx(1, abs=0.3)


def test_validation_chooses_the_number_of_gaussians(prior):
    assert list(prior.likelihoods) == list(texture_designs.COMPONENTS)
    best = max(prior.likelihoods.values())
    assert prior.likelihoods[prior.generator(torch.zeros(1, 1))[0].shape[1]] > best - 0.5
    again = prior.sample(LOW, 3, torch.Generator().manual_seed(5))
    torch.testing.assert_close(prior.sample(LOW, 3, torch.Generator().manual_seed(5)), again)


# --- drawings ---------------------------------------------------------------------------------------------------------


def discs(radius, edge=32):
    """Images (B, h, w) of a disc of graphite in the middle."""
    x = np.arange(edge) + 0.5 - edge / 2
    depth = np.hypot(x[:, None], x) - np.asarray(radius, float)[:, None, None]
    return DARK + (BRIGHT - DARK) * np.clip(depth + 0.5, 0, 1)


def test_an_image_is_segmented_and_simulated():
    values = read_and_simulate(discs([6.0, 9.0]))["youngs_modulus"]
    # Hashin and Shtrikman's upper bound on the modulus holds for any arrangement; holes make it low, larger ones lower.
    assert WHOLE > values[0] > values[1] > 0.5 * WHOLE


def test_what_cannot_be_segmented_has_no_property():
    images = np.concatenate([discs([6.0]), np.full((1, 32, 32), BRIGHT)])
    values = read_and_simulate(images)
    assert all(np.isfinite(v[0]) and np.isnan(v[1]) for v in values.values())
    assert all(np.isnan(v).all() for v in read_and_simulate(images[1:]).values())


def as_simulated(images):
    """Property of a disc in closed form: a straight line in the grey that it takes, so that no solver is needed."""
    return {"youngs_modulus": 200e9 - 400e9 * (images < 0.5).mean((1, 2))}


def test_corrections_lead_to_what_is_asked_for(prior, monkeypatch):
    """The decoder's discs are too large for the prior's value; drawn larger with smaller z, they are corrected."""
    monkeypatch.setattr(texture_designs, "read_and_simulate", as_simulated)
    made = design(prior, lambda z, _: torch.from_numpy(discs(16 - 2 * z[:, 0].numpy(), 64)), "youngs_modulus", 140e9, 4, 6, torch.Generator().manual_seed(0))
    assert made.images.shape == (4, 64, 64) and made.z.shape == (4, 2)
    assert made.error_pct(corrected=False) > 5 and made.error_pct() < 0.5
    np.testing.assert_allclose(as_simulated(made.images)["youngs_modulus"], made.values)
    np.testing.assert_allclose(discs(16 - 2 * made.z[:, 0].numpy(), 64), made.images)
    start = prior.sample(140e9, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(made.z[:, 1] - made.z[0, 1], start[:, 1] - start[0, 1], atol=0.3, rtol=0)  # moved alike, along one direction


def test_a_drawing_that_comes_no_nearer_gives_way_to_another(prior, monkeypatch):
    """By the first noise the property jumps across its target wherever a drawing is moved; by other noise it does not."""
    monkeypatch.setattr(texture_designs, "read_and_simulate", as_simulated)

    def jumping(z, noise):
        radius = 16 - 2 * z[:, 0].numpy()
        return torch.from_numpy(discs(np.where(np.array(noise) == 1, np.where(radius > 15, 22, 10), radius), 64))

    made = design(prior, jumping, "youngs_modulus", 140e9, 3, 8, torch.Generator().manual_seed(0))
    assert np.abs(made.values / 140e9 - 1).max() < 0.005
    np.testing.assert_allclose(jumping(made.z, [0, 4, 2]), made.images)


def test_the_best_of_all_rounds_counts(prior, monkeypatch):
    """A decoder that answers the wrong way round makes each correction worse: the first drawing stays."""
    monkeypatch.setattr(texture_designs, "read_and_simulate", as_simulated)
    made = design(prior, lambda z, _: torch.from_numpy(discs(14 + 2 * z[:, 0].numpy(), 64)), "youngs_modulus", 170e9, 3, 2, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(made.values, made.proposed)


def test_drawings_without_graphite_are_not_chosen(prior):
    nothing = design(prior, lambda z, _: torch.full((len(z), 32, 32), BRIGHT), "youngs_modulus", 140e9, 2, 2, torch.Generator().manual_seed(0))
    assert np.isnan(nothing.values).all() and np.isnan(nothing.error_pct()) and torch.isfinite(nothing.z).all()
    some = Design(100.0, torch.zeros(2, 1), np.zeros((2, 4, 4)), np.array([90.0, np.nan]), np.array([99.0, np.nan]))
    assert some.error_pct() == pytest.approx(1) and some.error_pct(corrected=False) == pytest.approx(10)


def test_the_shortlist_has_the_nearest_of_all_proposals(prior, monkeypatch):
    monkeypatch.setattr(texture_designs, "read_and_simulate", as_simulated)
    made = shortlist(prior, lambda z, _: torch.from_numpy(discs(16 - 2 * z[:, 0].numpy(), 64)), "youngs_modulus", 140e9, 2, 12, torch.Generator().manual_seed(0))
    every = as_simulated(discs(16 - 2 * prior.sample(140e9, 12, torch.Generator().manual_seed(0))[:, 0].numpy(), 64))["youngs_modulus"]
    np.testing.assert_allclose(np.abs(made.values / 140e9 - 1), np.sort(np.abs(every / 140e9 - 1))[:2])
    np.testing.assert_allclose(as_simulated(made.images)["youngs_modulus"], made.values)
