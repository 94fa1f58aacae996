"""VAE-regression of media: shapes, gradients, statistics of its laws against drawings, likelihood of its priors."""

import pytest
import torch

from microprint.networks.medium_vae import INDEPENDENT, MediumVAE, fit_prior
from microprint.networks.random_medium import at, autocorrelation, draw, lags
from microprint.networks.vae_regression import MixturePrior, Posteriors, log_density


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def model(edge=8, properties=2, latent_dim=3):
    torch.manual_seed(0)
    return MediumVAE(edge=edge, properties=properties, latent_dim=latent_dim, hidden=16)


def batch_of(made, count=12):
    """Statistics and probabilities of laws that the model itself has, and properties at random."""
    with torch.no_grad():
        z = torch.randn(count, made.latent_dim, generator=generator(1))
        level, rho = made.law(z, made.edge)
        seen = torch.cat([torch.asin(at(rho, made.lags).clamp(-0.999, 0.999)), level[:, None]], 1)
        return {"statistics": seen, "probabilities": made.expected(z), "property": torch.randn(count, 2, generator=generator(2))}


@pytest.mark.parametrize("edge", [5, 8, 9])
def test_shapes(edge):
    made = model(edge)
    count = len(lags(edge)) + 1
    batch = batch_of(made, 4)
    assert batch["statistics"].shape == batch["probabilities"].shape == (4, count)
    mean, log_variance = made.posterior(batch["statistics"])
    assert mean.shape == log_variance.shape == (4, 3)
    assert [x.shape for x in made.properties(mean)] == [(4, 2), (4, 2)]
    level, rho = made.law(mean, 11)
    assert level.shape == (4,) and rho.shape == (4, 11, 11, 11)


def test_gradients_reach_all_weights():
    made = model()
    losses = made.losses(batch_of(made), generator())
    losses["loss"].backward()
    assert set(losses) == {"loss", "reconstruction", "regression", "kl"}
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + losses["regression"] + losses["kl"])
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in made.parameters())


def test_input_is_standardised():
    made, batch = model(), batch_of(model(), 50)
    made.standardise(batch["statistics"])
    scaled = (batch["statistics"] - made.mean) / made.std
    torch.testing.assert_close(scaled.mean(0), torch.zeros(scaled.shape[1]), rtol=0, atol=1e-4)
    assert "lags" not in made.state_dict() and {"mean", "std"} <= set(made.state_dict())


def test_expected_statistics_are_those_of_gaussian_fields():
    """Fields with random amplitudes, as the closed form wants, cut where -field < t: within three standard errors."""
    made, count = model(), 3000
    with torch.no_grad():
        z = 1.5 * torch.randn(1, 3, generator=generator(1))
        expected, (level, rho) = made.expected(z)[0], made.law(z, 8)
        noise = torch.randn(count, 8, 8, 8, generator=generator(3))
        gain = torch.fft.rfftn(rho.double(), dim=(1, 2, 3)).real.clamp_min(0).sqrt()
        field = torch.fft.irfftn(torch.fft.rfftn(noise.double(), dim=(1, 2, 3)) * gain, dim=(1, 2, 3), s=(8, 8, 8))
        phase = (-field < level).double()
        found = torch.cat([at(autocorrelation(phase), made.lags), phase.mean((1, 2, 3))[:, None]], 1)
    error = found.std(0) / count**0.5
    away = (found.mean(0) - expected) / error
    assert away.abs().max() < 4.5 and away.square().mean() < 3, away.abs().max()


def test_drawings_of_a_law_have_its_statistics_nearly():
    """Amplitudes that are not random make fields a little less than Gaussian in so small a cell."""
    made, count = model(), 1000
    with torch.no_grad():
        z = 1.5 * torch.randn(1, 3, generator=generator(1))
        level, rho = made.law(z, 8)
        field = draw(rho.expand(count, -1, -1, -1), torch.randn(count, 8, 8, 8, generator=generator(3)))
        phase = (-field < level).double()
        found = torch.cat([at(autocorrelation(phase), made.lags), phase.mean((1, 2, 3))[:, None]], 1)
        assert (found.mean(0) - made.expected(z)[0]).abs().max() < 0.01


def test_training_lowers_the_loss():
    made = model()
    batch = batch_of(model(latent_dim=3), 40)
    batch["property"] = batch["probabilities"][:, [-1, 0]] * 5
    made.standardise(batch["statistics"])
    optimiser = torch.optim.Adam(made.parameters(), lr=3e-3)
    first = made.losses(batch, generator())
    for _ in range(60):
        optimiser.zero_grad()
        losses = made.losses(batch, generator())
        losses["loss"].backward()
        optimiser.step()
    assert losses["loss"] < first["loss"] and losses["reconstruction"] < first["reconstruction"] and INDEPENDENT > 1


def test_a_prior_s_likelihood_rises_to_the_truth():
    """Posteriors about two branches of z(c): two Gaussians find both, and twice the same way."""
    c = torch.linspace(-1, 1, 200)[:, None]
    side = torch.where(torch.arange(200) % 2 == 0, 1.0, -1.0)[:, None]
    posteriors = Posteriors(torch.cat([side + c, -c], 1), torch.full((200, 2), -4.0), c)

    def fitted(steps):
        torch.manual_seed(1)
        prior = MixturePrior(1, 2, 2, 16)
        fit_prior(prior, posteriors, steps, generator(5))
        return prior

    likelihoods = [log_density(fitted(steps)(c), posteriors.mean).mean().item() for steps in (1, 40, 400)]
    assert likelihoods[0] < likelihoods[1] < likelihoods[2]
    prior = fitted(400)
    means = prior(torch.tensor([[0.5]])).mean[0]
    for branch in (torch.tensor([1.5, -0.5]), torch.tensor([-0.5, -0.5])):
        assert (means - branch).norm(dim=1).min() < 0.2
    assert all(torch.equal(a, b) for a, b in zip(prior.parameters(), fitted(400).parameters()))
