"""Results of DAMASK's grid solver for a few small cases, which the solver of this package is held to."""

from importlib.resources import files

import h5py


def open_reference() -> h5py.File:
    """The reference cases (`damask.h5`), open for reading; its attributes state origin, load, conventions and units."""
    return h5py.File(str(files(__package__) / "damask.h5"), "r")
