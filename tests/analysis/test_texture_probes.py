"""Probes and disentanglement on codes whose contents are known; walks along known directions."""

import numpy as np
import pytest

from microprint.analysis import texture_probes as tp
from microprint.analysis.texture_properties import folds_by_image
from microprint.errors import UserError
from microprint.microstructures import cast_iron

COUNT = 200


def rng(seed=0):
    return np.random.default_rng(seed)


def factors(count=COUNT, width=4):
    return rng().uniform(-1, 1, (count, width))


def rotated(codes):
    """The same codes in axes that each mix all of them alike."""
    hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    return codes @ hadamard


# --- probes ----------------------------------------------------------------------------------------------------------


def test_a_probe_reads_what_is_in_the_code_and_nothing_else():
    y = factors(60, 2)
    codes = np.stack([y[:, :1] + 0.01 * rng(k).normal(size=(60, 3)) for k in range(4)], 1)
    for pool in (False, True):
        first, second = tp.probe(codes, y, folds_by_image(60, 5, 0), pool)
        assert first > 0.99 and second < 0.1


def test_a_probe_of_noisy_patches_has_the_share_of_the_signal():
    """z = y + e with var e = var y: the best line explains a half, of the mean of four patches 1 / (1 + 1/4)."""
    y = rng(0).normal(size=(3000, 1))
    codes = y[:, None] + rng(1).normal(size=(3000, 4, 1))
    folds = folds_by_image(3000, 3, 0)
    assert tp.probe(codes, y, folds, False)[0] == pytest.approx(0.5, abs=0.02)
    assert tp.probe(codes, y, folds, True)[0] == pytest.approx(0.8, abs=0.02)


def test_no_patch_of_a_probed_casting_was_seen():
    """Codes that mark the casting, factors that mean nothing."""
    codes = rng(1).normal(size=(20, 1, 40)) + 0.01 * rng(2).normal(size=(20, 6, 40))
    assert tp.probe(codes, rng(3).normal(size=(20, 1)), folds_by_image(20, 5, 0), False)[0] < 0.3


def test_components_of_many_numbers():
    y = factors(60, 1)
    codes = y[:, None] * rng(1).normal(size=50) + 0.01 * rng(2).normal(size=(60, 2, 50))
    assert tp.probe(codes, y, folds_by_image(60, 5, 0), False, components=3)[0] > 0.99


def test_faults_of_probes():
    codes = np.zeros((4, 2, 3))
    with pytest.raises(UserError, match="one fold"):
        tp.probe(codes, np.zeros((4, 1)), np.zeros(4), False)
    codes[0, 0, 0] = np.nan
    with pytest.raises(UserError, match="no numbers"):
        tp.probe(codes, np.zeros((4, 1)), np.arange(4), False)


# --- the ideal reader ------------------------------------------------------------------------------------------------


def casting(**changes):
    causes = dict(nodularity=0.5, diameter_um=25, graphite_share=0.1, thickness_um=6, grain_um=40, boundary_contrast=0.1,
                  exposure=1, noise=0.02)
    return cast_iron.Casting(**causes | changes)


def test_ideal_descriptors_know_greys_and_boundaries():
    exposure, contrast, noise = 0.9, 0.15, 0.03
    made = cast_iron.generate(casting(exposure=exposure, boundary_contrast=contrast, noise=noise), (256, 256), rng())
    columns = tp.ideal_descriptors(made.phase[None], made.image[None])[0]
    length, shade, grey, sigma = np.exp(columns[-4]), np.exp(columns[-3]), columns[-2], np.exp(columns[-1])
    assert np.pi / 2 * length / cast_iron.PIXEL_M == pytest.approx(made.descriptors["boundary_m_per_m2"])
    assert grey == pytest.approx(0.74 * exposure, rel=0.01) and sigma == pytest.approx(noise, rel=0.05)
    assert 0.5 * exposure * contrast < shade < exposure * contrast  # a microscope blurs thin lines
    assert columns[0] == pytest.approx(made.descriptors["measured_graphite_share"])


def test_pieces_without_graphite_or_boundaries_have_the_mean_of_the_others():
    pure = np.zeros((32, 32), np.uint8)
    mixed = pure.copy()
    mixed[8:16, 8:16], mixed[24] = cast_iron.GRAPHITE, cast_iron.BOUNDARY
    phase = np.stack([pure, mixed, mixed])
    greys = np.array([0.74, 0.16, 0.6])
    table = tp.ideal_descriptors(phase, greys[phase] + 0.01 * rng().normal(size=phase.shape))
    assert np.isfinite(table).all()
    np.testing.assert_allclose(table[0, 1], table[1:, 1].mean())


def test_the_ideal_reader_reads_shares_and_exposures_of_unseen_castings():
    chance = rng(1)
    causes = chance.uniform((0.07, 0.8), (0.15, 1.1), (40, 2))
    made = [[cast_iron.generate(casting(graphite_share=s, exposure=e, diameter_um=14), (64, 64), chance) for _ in range(2)] for s, e in causes]
    phase, images = (np.array([[getattr(m, key) for m in pair] for pair in made]) for key in ("phase", "image"))
    by_image = tp.ideal_reader(phase, images, causes, folds_by_image(40, 4, 0), True)
    assert by_image[1] > 0.95 and by_image[0] > 0.5


# --- disentanglement -------------------------------------------------------------------------------------------------


def test_mutual_information_of_known_tables():
    same = np.repeat(np.arange(4), 5)
    assert tp._mutual_information(same, same) == pytest.approx(np.log(4))
    assert tp._mutual_information(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == pytest.approx(0)
    # A binary symmetric channel that errs in a quarter of the cases.
    a, b = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 1, 1, 1, 0])
    assert tp._mutual_information(a, b) == pytest.approx(np.log(2) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25))


def test_the_gap_of_aligned_rotated_and_meaningless_codes():
    y = factors()
    aligned, table = tp.mutual_information_gap(np.exp(y[:, None]), y, 0)  # any rising function says as much
    mixed, _ = tp.mutual_information_gap(rotated(y)[:, None], y, 0)
    noise, nothing = tp.mutual_information_gap(rng(1).normal(size=(COUNT, 3, 4)), y, 0)
    np.testing.assert_allclose(np.diag(table), 1)
    assert aligned > 0.9 and mixed < 0.15 and abs(noise) < 0.1
    assert abs(nothing.mean()) < 0.02


def test_patches_that_agree_do_not_count_as_more_castings():
    """Twenty patches that all repeat their casting's meaningless code."""
    codes = rng(1).normal(size=(40, 1, 3)).repeat(20, 1)
    assert abs(tp.mutual_information_gap(codes, factors(40), 0, bins=5)[1].mean()) < 0.1


def test_disentanglement_of_aligned_rotated_and_meaningless_codes():
    y = factors()
    aligned, mixed, noise = (tp.disentanglement(codes, y, 0) for codes in (y, rotated(y), rng(1).normal(size=(COUNT, 4))))
    assert min(aligned[:3]) > 0.9
    assert mixed.disentanglement < 0.3 and mixed.completeness < 0.3
    assert max(noise[:3]) < 0.2
    assert aligned.importance.shape == (4, 4)


def test_purity_of_known_weights():
    assert tp._purity(np.eye(3)) == 1 and tp._purity(np.ones((3, 3))) == pytest.approx(0) and tp._purity(np.zeros((2, 2))) == 0
    # A pure row of three quarters of all weight, and one spread over two of four.
    assert tp._purity(np.array([[6.0, 0, 0, 0], [1, 1, 0, 0]])) == pytest.approx(0.75 + 0.25 * 0.5)


# --- walks -----------------------------------------------------------------------------------------------------------


def test_a_walk_moves_one_factor_even_where_factors_go_together():
    y = factors(50, 2) @ np.array([[1, 0.8], [0, 0.6]])
    law = rng(1).normal(size=(2, 5))
    codes = 3 + y @ law
    np.testing.assert_allclose(tp.directions(codes, y), law)
    values = np.array([-2.0, 0, 2])
    expected = 3 + np.stack([np.full(3, y[:, 0].mean()), values], 1) @ law
    np.testing.assert_allclose(tp.walk(codes, y, 1, values), expected)


def test_follows_is_the_signed_share_of_a_straight_line():
    values = np.linspace(0, 1, 5)
    noise = rng(0).normal(size=(5, 4))
    measured = np.stack([values[:, None] + 0 * noise, -2 * values[:, None] + 0 * noise, noise, np.ones_like(noise)], 2)
    measured[0, 0, 0] = np.nan
    result = tp.follows(values, measured)
    np.testing.assert_allclose(result[:2], [1, -1])
    assert abs(result[2]) == pytest.approx(np.corrcoef(values.repeat(4), noise.ravel())[0, 1] ** 2) and result[3] == 0


def test_what_a_walk_takes_along_is_beside_the_diagonal_the_largest_first():
    along = tp.taken_along([[1, -0.9], [np.nan, 1]], ["a", "b"], ["of a", "of b"])
    assert along == [("a", "of b", -0.9)]
    along = tp.taken_along([[1, 0.2, 0.1], [-0.7, 1, 0], [0.3, 0, 1]], "abc", "xyz")
    assert [entry[:2] for entry in along[:3]] == [("b", "x"), ("c", "x"), ("a", "y")]


def test_shifts_are_shares_of_a_range():
    values = np.array([1.0, 2.0, 4.0])
    measured = np.stack([5 + 2 * values, -values, np.full(3, 7.0)], 1)[:, None].repeat(2, 1)
    np.testing.assert_allclose(tp.shifts(values, measured, [12, 6, 1]), [0.5, -0.5, 0], atol=1e-12)


def test_walks_through_a_law_move_what_castings_have():
    """Codes are a linear law of the factors, drawings have the factors of their codes: both go equally far and surely."""
    y = factors(200, 2)
    law = rng(1).normal(size=(2, 5))
    walks = tp.walks(3 + y @ law, y, y, [1], np.ones(200, bool), lambda line: ((line - 3) @ np.linalg.pinv(law))[:, None].repeat(2, 1))
    assert walks.lines.shape == (1, 7, 5)
    np.testing.assert_allclose(walks.sure[0, 1], 1)
    np.testing.assert_allclose(walks.far, walks.castings, atol=1e-9)
    np.testing.assert_allclose(walks.far[0, 1], 1, atol=1e-9)
