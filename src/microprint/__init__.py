"""microprint: deep learning for material microstructures, from volume element to property and back.

The public face applies a trained study to a user's own material::

    from microprint import CompositeDesign, Fingerprint, InverseDesign, PolycrystalDesign, StiffnessSurrogate, StressSurrogate
    from microprint import TextureFingerprint, effective_stiffness, simulate_cp
"""

import os
from importlib import import_module

from microprint.errors import UserError

# Threads that wait for each other by spinning take the core from whoever has work, ten times over on a busy machine. OpenMP
# reads this when it is loaded, that is with torch: processes that this one starts inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PUBLIC = {
    "Fingerprint": "systems.fingerprint",
    "StressSurrogate": "systems.surrogate",
    "CompositeDesign": "systems.composite_design",
    "PolycrystalDesign": "systems.polycrystal_design",
    "StiffnessSurrogate": "systems.stiffness_surrogate",
    "InverseDesign": "systems.inverse_design",
    "TextureFingerprint": "systems.texture",
    "simulate_cp": "mechanics",
    "effective_stiffness": "mechanics",
}
__all__ = ["UserError", *PUBLIC]


def __getattr__(name: str):
    """Import a public name when it is first used, so that `import microprint` stays quick."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'microprint' has no attribute {name!r}")
    return getattr(import_module(f"microprint.{PUBLIC[name]}"), name)
