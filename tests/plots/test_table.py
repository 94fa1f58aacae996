"""Tables of the notebooks."""

import math

import numpy as np

from microprint.plots import table


def test_what_is_no_number_is_a_dash():
    text = table([["a", None, math.nan, -math.inf, 3, np.float32(1.23456)]], ["name", *"bcdef"], "All kinds.").data
    assert text.startswith("All kinds.\n\n| name |") and text.endswith("| a | – | – | – | 3 | 1.23 |")


def column(*values):
    return [line.split("|")[2].strip() for line in table([["", value] for value in values], ["", "x"]).data.splitlines()[2:]]


def test_a_column_has_the_decimals_that_its_digits_need():
    assert column(9.94, 10.0, 8.1) == ["9.94", "10.00", "8.10"] and column(0.15, 0.293) == ["0.150", "0.293"]
    assert column(0.1, 0.4, None) == ["0.1", "0.4", "–"] and column(40.0, 5.0) == ["40", "5"] and column(0.0) == ["0"]
    assert column(-0.5, 0.0, 0.25) == ["-0.50", "0.00", "0.25"]


def test_numbers_near_each_other_have_the_digits_that_tell_them_apart():
    assert column(108.3, 107.12, 108.04) == ["108.3", "107.1", "108.0"]
    assert column(0.9986, 0.9996, 0.9951) == ["0.9986", "0.9996", "0.9951"]


def test_the_largest_has_four_digits_at_most():
    assert column(0.931, 21.2) == ["0.93", "21.20"] and column(1423.4, 97.2) == ["1423", "97"]


def test_numbers_of_very_different_size_have_digits_of_their_own():
    assert column(40.5, 0.86, 0.0051, 0.0) == ["40.5", "0.860", "0.00510", "0"] and column(5e9) == ["5.00e+09"]
    assert column(1423.4, 0.123) == ["1423", "0.123"] and column(7.17e-5, 0.0665) == ["7.17e-05", "0.0665"]


def test_what_is_nil_beside_the_largest_is_said_to_be_less():
    assert column(1.54e-7, -1e-9, 0.207, 40.6) == ["< 0.001", "> -0.001", "0.21", "40.60"]
    assert column(2.2e-16, 1.5) == ["< 0.0001", "1.5"] and column(2.13e-5, 8.97e-15) == ["2.13e-05", "< 1e-09"]


def test_columns_of_words_are_set_left():
    lines = table([["a", "b", "1.2e-3", None, 1.0], ["c", None, "4/5", None, 2]], [""] * 5).data.splitlines()
    assert lines[1] == "| --- | --- | ---: | ---: | ---: |" and table([], ["a", "b"]).data.endswith("| --- | ---: |")
