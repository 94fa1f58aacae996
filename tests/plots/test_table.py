"""Tables of the notebooks."""

import math

import numpy as np

from microprint.plots import table


def test_what_is_no_number_is_a_dash():
    text = table([["a", None, math.nan, -math.inf, 3, np.float32(1.23456)]], ["name", *"bcdef"], "All kinds.").data
    assert text.startswith("All kinds.\n\n| name |") and text.endswith("| a | – | – | – | 3 | 1.23 |")
