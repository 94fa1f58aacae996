"""Simulated properties of micrographs against closed forms in plane strain, and the step that writes them."""

import numpy as np
import pytest

from microprint.errors import UserError
from microprint.microstructures.cast_iron import BOUNDARY, FERRITE, GRAPHITE
from microprint.params.sections import ComputeSettings, Params
from microprint.steps import run_step
from microprint.store import create_hdf5, open_hdf5
from microprint.systems import micrograph_properties as properties
from microprint.systems.micrograph_properties import METAL, SOFT, STRENGTHS, reduce_phase, simulate, simulate_micrographs

PARAMS = Params(compute=ComputeSettings(device="cpu", workers=1))
PLANE = [(young / (1 - nu**2), nu / (1 - nu)) for young, nu in (METAL, SOFT)]  # moduli of plane strain


def disc(edge, radius):
    x = np.arange(edge) + 0.5 - edge / 2
    return (np.hypot(x[:, None], x) < radius).astype(np.uint8), x


def mises(xx, yy, xy=0.0):
    """Of plane strain in the metal."""
    zz = METAL[1] * (xx + yy)
    return np.sqrt(0.5 * ((xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2) + 3 * xy**2)


def values(phase, **options):
    return {name: float(value) for name, value in simulate(np.asarray(phase)[None], **options).items()}


@pytest.mark.parametrize("phase", [FERRITE, BOUNDARY])
def test_a_homogeneous_image_is_its_metal(phase):
    made = values(np.full((6, 8), phase))
    assert made["youngs_modulus"] == pytest.approx(PLANE[0][0], rel=1e-6)
    assert made["yield_strength"] == pytest.approx(STRENGTHS[phase] / mises(1.0, 0.0), rel=1e-6)


def test_a_laminate_has_its_closed_form():
    """Layers normal to x share the stress xx and the strain yy; mean stresses of 1 across and along them."""
    phase, share = np.zeros((10, 4), np.uint8), 0.3
    phase[:3] = GRAPHITE
    (metal, nu_m), (soft, nu_s) = PLANE
    along = (1 - share) * metal + share * soft
    strain = -((1 - share) * nu_m + share * nu_s) / along  # yy, under stress across
    yy = [modulus * strain + nu for modulus, nu in PLANE]
    across = 1 / sum(f * (1 - nu * s) / modulus for f, s, (modulus, nu) in zip((1 - share, share), yy, PLANE))
    made = values(phase, tolerance=1e-5)
    assert made["youngs_modulus"] == pytest.approx((across + along) / 2, rel=1e-5)
    yields = [STRENGTHS[FERRITE] / stress for stress in (mises(1.0, yy[0]), mises(0.0, metal / along))]
    assert made["yield_strength"] == pytest.approx(sum(yields) / 2, rel=1e-5)


def test_a_dilute_disc_softens_as_the_closed_form_says():
    """Hashin and Shtrikman's moduli in the plane, which a soft disc far from others attains."""
    phase, _ = disc(96, 12.0)
    share = phase.mean()
    (k, mu), (k_soft, mu_soft) = ((young / (2 * (1 + nu) * (1 - 2 * nu)), young / (2 * (1 + nu))) for young, nu in (METAL, SOFT))
    bulk = k + share / (1 / (k_soft - k) + (1 - share) / (k + mu))
    shear = mu + share / (1 / (mu_soft - mu) + (1 - share) * (k + 2 * mu) / (2 * mu * (k + mu)))
    lost = 1 - 4 * bulk * shear / (bulk + shear) / PLANE[0][0]
    assert 1 - values(phase)["youngs_modulus"] / PLANE[0][0] == pytest.approx(lost, rel=0.03)


def test_stress_beside_a_disc_is_the_closed_form_s():
    """Goodier's field around a disc in an infinite plate (Muskhelishvili, section 56a), at the pixels of the image."""
    radius, nu, nu_soft = 9.0, METAL[1], SOFT[1]
    phase, x = disc(160, radius)
    mu, mu_soft = METAL[0] / (2 * (1 + nu)), SOFT[0] / (2 * (1 + nu_soft))
    kappa, kappa_soft = 3 - 4 * nu, 3 - 4 * nu_soft
    delta = (mu_soft - mu) / (mu + mu_soft * kappa)
    gamma = (mu * (kappa_soft - 1) - mu_soft * (kappa - 1)) / (2 * mu_soft + mu * (kappa_soft - 1))
    ratio, angle = (radius / np.hypot(x[:, None], x)) ** 2, np.arctan2(x, x[:, None])
    radial = 0.5 * (1 - gamma * ratio + (1 + 4 * delta * ratio - 3 * delta * ratio**2) * np.cos(2 * angle))
    hoop = 0.5 * (1 + gamma * ratio - (1 - 3 * delta * ratio**2) * np.cos(2 * angle))
    shear = -0.5 * (1 - 2 * delta * ratio + 3 * delta * ratio**2) * np.sin(2 * angle)
    stress = np.quantile(mises(radial, hoop, shear)[phase == FERRITE], 0.95)
    assert stress > 1.02 * mises(1.0, 0.0)
    assert values(phase)["yield_strength"] == pytest.approx(STRENGTHS[FERRITE] / stress, rel=5e-3)


def test_mirrored_and_turned_images_are_one_material():
    phase = np.random.default_rng(0).choice(3, (24, 24), p=(0.6, 0.15, 0.25))
    base = simulate(np.stack([phase, phase[::-1], phase[:, ::-1], phase.T, np.rot90(phase)]), tolerance=1e-5)
    for value in base.values():
        np.testing.assert_allclose(value, value[0].item(), rtol=1e-4)


def test_strong_boundaries_yield_later_and_stiffen_nothing():
    phase = disc(32, 8.0)[0]
    lined = np.where((np.arange(32) % 4 == 0) & (phase == FERRITE), BOUNDARY, phase)
    plain, strong = values(phase), values(lined)
    assert strong["youngs_modulus"] == plain["youngs_modulus"] and strong["yield_strength"] > plain["yield_strength"]


def test_four_pixels_become_what_most_or_any_of_them_are():
    blocks = [[0, 0, 0, 2], [1, 0, 0, 2], [1, 1, 2, 2], [1, 0, 0, 0], [0, 0, 0, 0]]
    phase = np.concatenate([np.array(block).reshape(2, 2) for block in blocks], 1)
    assert reduce_phase(phase).tolist() == [[BOUNDARY, BOUNDARY, GRAPHITE, FERRITE, FERRITE]]
    assert reduce_phase(np.zeros((3, 7, 5), np.uint8)).shape == (3, 3, 2)


@pytest.mark.parametrize("phase, text", [
    (np.full((1, 4, 4), 3), "holds 3 to 3"), (np.ones((1, 4, 4), int), "has no metal"), (np.zeros((4, 4), int), r"of shape \(4, 4\)"),
])  # fmt: skip
def test_other_maps_are_refused(phase, text):
    with pytest.raises(UserError, match=text):
        simulate(phase)


@pytest.fixture
def folder(tmp_path):
    """Three images, of which the second is graphite alone."""
    rng = np.random.default_rng(0)
    with create_hdf5(tmp_path / "micrographs.h5", "micrographs", {"key": "a"}) as file:
        file["samples/tested"] = np.zeros(3, bool)
        for number in range(3):
            phase = np.ones((16, 16)) if number == 1 else rng.choice(3, (16, 16), p=(0.7, 0.1, 0.2))
            file[f"samples/phase/{number:03d}"] = phase.astype(np.uint8)
    return tmp_path


def test_the_step_resumes_and_says_what_failed(folder, monkeypatch):
    done, real = [], properties.simulate

    def failing(phase, **options):
        if len(done) == 2:
            raise RuntimeError
        done.append(phase)
        return real(phase, **options)

    monkeypatch.setattr(properties, "simulate", failing)
    with pytest.raises(RuntimeError):
        run_step(simulate_micrographs, PARAMS, folder, {})
    assert not (folder / "micrograph_properties.h5").exists()
    done.clear()
    run_step(simulate_micrographs, PARAMS, folder, {})
    assert len(done) == 1
    with open_hdf5(folder / "micrographs.h5") as file, open_hdf5(folder / "micrograph_properties.h5", "micrograph_properties") as made:
        phase = np.stack([reduce_phase(file[f"samples/phase/{number:03d}"][:]) for number in (0, 2)])
        for name, expected in real(phase).items():
            assert made[name].attrs["unit"] == "Pa" and np.isnan(made[name][1])
            np.testing.assert_allclose(made[name][:][[0, 2]], expected, rtol=1e-3)
        assert made["reason"].asstr()[:].tolist() == ["", "a map has no metal", ""]


def test_images_of_a_user_s_own_have_no_simulated_properties(tmp_path):
    with create_hdf5(tmp_path / "micrographs.h5", "micrographs", {"key": "a"}) as file:
        file["samples/tested"] = np.zeros(2, bool)
    run_step(simulate_micrographs, PARAMS, tmp_path, {})
    with open_hdf5(tmp_path / "micrograph_properties.h5") as made:
        assert np.isnan(made["youngs_modulus"][:]).all() and np.isnan(made["yield_strength"][:]).all()
        assert made["reason"].asstr()[:].tolist() == ["its phases are not known"] * 2
