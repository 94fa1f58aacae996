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
    assert column(9.94, 10.0, 8.1) == ["9.94", "10.00", "8.10"]
    assert column(0.1, 0.4, None) == ["0.1", "0.4", "–"] and column(40.0, 5.0) == ["40", "5"]
    assert column(-0.5, 0.0, 0.25) == ["-0.50", "0.00", "0.25"]


def test_numbers_of_four_digits_have_no_exponent():
    assert column(1423.4, 97.2) == ["1423", "97"] and column(1423.4, 0.0123) == ["1423", "0.0123"] and column(5e9) == ["5e+09"]


def test_numbers_of_very_different_size_have_their_own_digits():
    assert column(2.2e-16, 1.5) == ["2.2e-16", "1.5"] and column(0.00123, 40.04, 0.0) == ["0.00123", "40", "0"]
