"""Properties out of fold: what is held out, what a model may know, and errors of known predictions."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV

from microprint.analysis import regression
from microprint.analysis import texture_properties as tp
from microprint.errors import UserError
from microprint.microstructures.cast_iron import CASTINGS


def castings(count=40, seed=0):
    """Features (G, 3), of which the first carries the logarithm of a property, which varies by tens of percent, (G, 2)."""
    features = np.random.default_rng(seed).normal(size=(count, 3))
    return features, np.exp(np.stack([0.2 * features[:, 0], -0.1 * features[:, 0]], 1)) * [140e9, 160e6]


def test_pooled_is_mean_and_deviation():
    codes = np.random.default_rng(0).normal(size=(3, 4, 2))
    np.testing.assert_allclose(tp.pooled(codes)[1], [*codes[1].mean(0), *np.std(codes[1], 0, ddof=1)])
    assert tp.pooled(codes[:, :1]).shape == (3, 2)


def test_folds_hold_each_image_once_and_differ_by_the_seed():
    folds = tp.folds_by_image(12, 5, 0)
    assert sorted(np.bincount(folds)) == [2, 2, 2, 3, 3]
    np.testing.assert_array_equal(folds, tp.folds_by_image(12, 5, 0))
    assert (folds != tp.folds_by_image(12, 5, 1)).any()
    for parts in (1, 13):
        with pytest.raises(UserError, match=f"into {parts} folds"):
            tp.folds_by_image(12, parts, 0)


def test_morphologies():
    assert tp.folds_by_morphology([0, 0.3, 0.35, 0.6, 0.7, 1]).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("kind", ["ridge", "svr", "gp"])
@pytest.mark.parametrize("components", [None, 3])
def test_a_signal_is_found(kind, components):
    features, values = castings()
    folds = tp.folds_by_image(40, 4, 0)
    trivial = tp.scores(tp.predict("mean", features, values, folds), values)
    learnt = tp.scores(tp.predict(kind, features, values, folds, components), values)
    assert (learnt.mape_pct < 0.35 * trivial.mape_pct).all() and (learnt.r2 > 0.85).all()


@pytest.mark.parametrize("components", [None, 2])
def test_support_vectors_are_chosen_as_scikit_learn_s_search_chooses_them(components):
    features, values = castings(30, 4)
    values = values[:, :1] * np.exp(0.05 * np.random.default_rng(1).normal(size=(30, 1)))
    folds = np.arange(30) % 3
    grid = {"regressor__svr__C": [1.0, 10.0, 100.0], "regressor__svr__epsilon": [0.03, 0.1, 0.3]}
    wanted = np.empty(30)
    for fold in range(3):
        x, at = features[folds != fold], features[folds == fold]
        if components:
            x, at = regression.components(x, at, components)
        search = GridSearchCV(regression.regressor("svr", not components), grid, scoring="neg_mean_squared_error", cv=5)
        wanted[folds == fold] = np.exp(search.fit(x, np.log(values[folds != fold, 0])).predict(at))
    np.testing.assert_allclose(tp.predict("svr", features, values, folds, components)[:, 0], wanted, rtol=1e-9)


def test_ridge_without_noise_is_the_law():
    features, values = castings()
    np.testing.assert_allclose(tp.predict("ridge", features, values, np.arange(40) % 4), values, rtol=1e-4)


def test_the_mean_is_the_geometric_one_of_the_training_images():
    features, values = castings(6)
    folds = np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(tp.predict("mean", features, values, folds)[:2], np.exp(np.log(values[2:]).mean(0))[None].repeat(2, 0))


def test_nearest_is_the_mean_of_the_same_magnesium_for_the_twelve():
    magnesium, values = np.repeat([0, 0.025, 0.045], 4), castings(12)[1]
    predicted = tp.predict("nearest", magnesium[:, None], values, np.arange(12))
    np.testing.assert_allclose(predicted[5], np.exp(np.log(values[[4, 6, 7]]).mean(0)))


def test_nearest_of_many_contents_are_neighbours():
    """Of 16 training images the nearest four."""
    content, values = np.arange(17.0), castings(17)[1]
    predicted = tp.predict("nearest", content[:, None], values, (content == 0).astype(int))
    np.testing.assert_allclose(predicted[0], np.exp(np.log(values[1:5]).mean(0)))


@pytest.mark.parametrize("kind", tp.KINDS)
@pytest.mark.parametrize("components", [None, 2])
def test_nothing_is_learnt_from_what_is_held_out(kind, components):
    features, values = castings(12)
    folds = np.arange(12) % 3
    changed = values.copy()
    changed[folds == 0] *= 5
    first, second = (tp.predict(kind, features, y, folds, components)[folds == 0] for y in (values, changed))
    np.testing.assert_array_equal(first, second)


def test_components_are_principal_and_know_the_training_part_alone():
    x = np.random.default_rng(0).normal(size=(30, 5)) * [5, 3, 1, 0.1, 0.1]
    known, asked = regression.components(x, x[:4] + 1, 2)
    _, _, axes = np.linalg.svd(x - x.mean(0))
    exact = (x - x.mean(0)) @ axes[:2].T
    scale = exact.std(0, ddof=1)
    np.testing.assert_allclose(np.abs(known), np.abs(exact) / np.sqrt((scale**2).mean()), rtol=1e-9)
    assert asked.shape == (4, 2) and regression.components(x[:3], x, 5)[0].shape == (3, 2)


@pytest.mark.parametrize("shape", [(), (2,)])
def test_ridge_is_that_of_scikit_learn_and_keeps_groups_together(shape):
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold

    x, y = (torch.from_numpy(np.random.default_rng(k).normal(size=(30, *width))) for k, width in enumerate([(40,), shape]))
    standard = (x - x.mean(0)) / x.std(0)
    for groups in (np.arange(30), np.arange(30) // 3):
        folds = KFold(5, shuffle=True, random_state=0).split(np.unique(groups))
        splits = [tuple(np.flatnonzero(np.isin(groups, part)) for part in pair) for pair in folds]
        model = RidgeCV(regression.PENALTIES, cv=splits, scoring="neg_mean_squared_error").fit(standard.numpy(), y.numpy())
        np.testing.assert_allclose(regression.ridge(x, y, x, groups).numpy(), model.predict(standard.numpy()), rtol=1e-6, atol=1e-9)


def test_faults_name_the_image():
    features, values = castings(6)
    folds = np.arange(6) % 2
    with pytest.raises(UserError, match="one fold"):
        tp.predict("mean", features, values, np.zeros(6))
    features[3, 1] = np.nan
    with pytest.raises(UserError, match=r"features of images \[3\]"):
        tp.predict("mean", features, values, folds)
    values[4, 0] = np.nan
    with pytest.raises(UserError, match=r"properties of images \[4\]"):
        tp.predict("mean", np.zeros((6, 1)), values, folds)


def test_scores_rows_and_the_strongest():
    observed = np.array([[100.0, 1.0], [200.0, 2.0]])
    errors = tp.scores(observed * [1.1, 1.0], observed)
    np.testing.assert_allclose(errors.mape_pct, [10, 0], atol=1e-9)
    np.testing.assert_allclose(errors.r2, [1 - (10**2 + 20**2) / 5000, 1])
    compared = {"a": tp.Scores(np.array([[4.0], [6.0]]), np.array([[0.5], [0.7]])), "b": tp.Scores(np.array([[3.0], [5.0]]), np.zeros((2, 1)))}
    assert tp.rows(compared, 0) == [("b", "4.00 ± 1.41", "0.00 ± 0.00"), ("a", "5.00 ± 1.41", "0.60 ± 0.14")]
    assert tp.spread(*compared.values(), 0) == pytest.approx(2)
    assert tp.strongest(compared, 0) == ("b", 4.0)


def test_compare_asks_all_under_the_same_foldings():
    features, values = castings(20)
    foldings = [tp.folds_by_image(20, 4, seed) for seed in (0, 1)]
    compared = tp.compare({"mean": tp.Predictor("mean", features), "ridge": tp.Predictor("ridge", features, 2)}, values, foldings)
    np.testing.assert_allclose(compared["ridge"].r2[1], tp.scores(tp.predict("ridge", features, values, foldings[1], 2), values).r2)
    assert compared["mean"].mape_pct.shape == (2, 2)
    single = tp.compare({"mean": tp.Predictor("mean", features)}, values, foldings[:1])
    assert "±" not in tp.rows(single, 0)[0][1] and tp.spread(single["mean"], single["mean"], 0) == 0


def test_beside_rough_values_only_their_error_is_learnt():
    """Rough values that are wrong by one factor: the mean knows it."""
    values = castings(20)[1]
    predictor = tp.Predictor("mean", np.zeros((20, 1)), base=0.8 * values)
    compared = tp.compare({"rough": predictor}, values, [tp.folds_by_image(20, 4, 0)])
    np.testing.assert_allclose(compared["rough"].mape_pct, 0, atol=1e-9)


def test_patches_at_random_flatter():
    """Codes that tell the image, and labels that mean nothing."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(12, 1, 3)) + 0.01 * rng.normal(size=(12, 5, 3))
    split = tp.split_by_patch("svr", codes, np.exp(0.1 * rng.normal(size=(12, 1))), 4, 0)
    assert split["patches"].mape_pct[0] < 0.3 * split["images"].mape_pct[0]


def test_each_column_is_predicted_by_itself():
    features, values = castings(20)
    folds = np.arange(20) % 4
    both, second = tp.predict("gp", features, values, folds), tp.predict("gp", features, values[:, 1:], folds)
    torch.testing.assert_close(torch.from_numpy(both[:, 1:]), torch.from_numpy(second))


def test_the_strongest_of_some_for_each_property():
    scores = {name: tp.Scores(np.array([row]), np.zeros((1, 2))) for name, row in
              {"a": [1.0, 9.0], "b": [2.0, 3.0], "left out": [0.0, 0.0]}.items()}
    assert tp.strongest_of(scores, lambda name: name != "left out") == [("a", 1.0), ("b", 3.0)]


def test_images_of_one_casting_scatter_less_than_castings():
    """Nodules of one size and share: a few per cent; and the same seed gives the same."""
    casting = next(iter(CASTINGS.values()))
    once, again = (tp.scatter_within(casting, (128, 128), 3, 0) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert once.shape == (2,) and (0 < once).all() and (once < 0.3).all()
