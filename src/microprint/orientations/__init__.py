"""Crystal orientations, batched in torch.

An orientation is a unit quaternion ``(w, x, y, z)`` in DAMASK's convention (passive, P = -1): its matrix ``M``
turns *sample* components into *crystal* components, ``v_crystal = M v_sample``. The hexagonal crystal frame has
``x || a1 = [2 -1 -1 0]`` and ``z || c``. Functions take any leading shape, none at all included, and keep the
floating-point type, the device and the gradient of a tensor. Arrays of numpy, lists and damask.Rotation are read as
`microprint.arrays.vectors` says, which raises `UserError` for what is no array of (..., 4); a tensor comes back for these too.
"""

# ruff: noqa: F401

from microprint.orientations.embedding import EMBEDDING_SIZE, embed, project
from microprint.orientations.quaternions import (
    conjugate,
    euler_channels,
    expand,
    from_euler,
    from_euler_channels,
    from_rotation_vector,
    multiply,
    one_minus_abs_dot,
    random,
    rotation_angle,
    standardize,
    to_euler,
    to_matrix,
    to_rotation_vector,
)
from microprint.orientations.symmetry import SYMMETRIES, disorientation, equivalents, reduce, symmetry_operators
