"""What is said of numbers: the word, the numbers, and whether it is a defeat."""

import numpy as np

from microprint.analysis.judging import Judgement, Measure, Score
from microprint.analysis.texture_findings import Told
from microprint.analysis.texture_probes import Walks
from microprint.analysis.texture_properties import BESIDE_FULL, BESIDE_ROUGH, FULL, ROUGH, Scores


def scores(*errors):
    return Scores(np.array(errors)[:, None], np.zeros((len(errors), 1)))


def test_a_lead_within_the_scatter_of_splits_is_a_defeat():
    others = {"mean of the others": scores(9.0, 9.0), "S3, ridge": scores(6.0, 6.0)}
    for ours, word, missed in (((1.0, 1.0), "better than", 0), ((1.9, 1.9), "no better than", 1), ((4.0, 4.0), "worse than", 1)):
        told = Told()
        told.property("modulus", others | {"ours": scores(*ours), "VGG19": scores(1.8, 2.2)}, 0, "ours", "VGG19", "S3", (64, 256))
        assert len(told.missed) == missed and f"is {word} VGG19" in (told.missed + told.claims)[0]
        assert "S3 at 64 of 256 pixels): no gain by S3's training" in told.claims[-1]


def test_an_equilibrium_that_does_not_help_is_a_defeat_and_says_why():
    compared = {BESIDE_ROUGH: scores(1.5), "ours": scores(1.4), ROUGH: scores(2.0), FULL: scores(1.8), BESIDE_FULL: scores(1.3)}
    told = Told()
    told.equilibrium("stress", compared, 0, "ours", -0.8)
    assert not told.claims and "does not help" in told.missed[0] and "correlation -0.80" in told.missed[0]
    told.cost({"code": 1.0, "rough": 0.2, "full": 0.4})
    assert told.missed[-1].endswith("saves less than the code costs.")


def test_walks_tell_how_far_and_what_leaks():
    sure, far, castings = np.array([[0.9, 0.1], [0.95, 0.5]]), np.array([[0.4, -0.6], [0.0, 0.2]]), np.array([[0.8, 0.1], [0.0, 0.9]])
    told = Told()
    told.walks(Walks(np.zeros((2, 7, 3)), sure, far, castings), ["size", "noise"], ["size", "noise"])
    assert "to 1 of the 2 causes" in told.missed[0] and "castings: size, noise; more than 1.25 times: none." in told.missed[0] and told.missed[0].endswith("castings: size 0.40 of 0.80.")
    assert "noise 0.50" in told.missed[1] and "1 of 2 entries" in told.missed[2] and "size moves noise by -0.60 (castings +0.10)" in told.missed[2]


def test_probes_are_parted_by_what_the_ideal_reader_has():
    told = Told()
    codes = {"ours": [0.4, 0.97, 0.2], "S3": [0.44, 0.9, 0.26], "pixels": [0.4, 0.9, 0.1]}
    told.probes(["grain", "noise", "bends"], codes, [1.0, 1.0, 0.1])
    assert told.missed[0].endswith("castings: grain 0.40 (1.00).") and told.claims[0].endswith("castings: noise 0.97 (1.00).")
    assert told.missed[1:] == ["The code of S3 tells more of some causes, R² of unseen castings: bends 0.26 (ours 0.20)."] and len(told.claims) == 1


def test_designs_name_the_best_and_what_a_proposal_is_worth():
    told = Told()
    told.designs({("ours", "beyond"): [20.0, 0.04], ("library", "beyond"): [5.0, 5.0], ("listed", "beyond"): [np.nan, 9.0]}, "beyond", 2, 27, ["library"])
    assert told.claims[0].endswith("as proposed: ours 20 %; library 5 % (best: library).") and "(none for: library): ours < 0.1 %; " in told.claims[1]
    assert "off by 20 %, the library by 5 %" in told.missed[0]


def test_likeness_says_the_way_from_floor_to_ceiling_and_what_overfits():
    score = {name: Score(mean, 0.0, 0.1) for name, mean in (("floor", 1.0), ("ceiling", 0.0), ("trivial", 2.0), ("ours", 0.2), ("S3", 1.3))}
    judged = Judgement(Measure("style", None, False), score["floor"], score["ceiling"], score["trivial"], {name: score[name] for name in ("ours", "S3")})
    history = [{"epoch": e, "train_reconstruction": t, "validation_reconstruction": 1.0} for e, t in ((1, 3.0), (2, 1.0), (3, 0.5))]
    told = Told()
    told.likeness([judged], ["pixels"], "S3", history, 40)
    assert told.missed[0].startswith("S3's network, trained on 40 patches, gains little more on unseen ones: from epoch 2 to 3") and "style -30 %" in told.missed[0]
    assert "1 of the 1 measures" in told.claims[0] and "they come 80 to 80 %, S3" in told.claims[0] and told.claims[1].endswith("apart: pixels.")
