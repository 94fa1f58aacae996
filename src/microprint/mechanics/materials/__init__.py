"""Materials with DAMASK's phenomenological power law, read from DAMASK's own material files."""

from microprint.mechanics.materials.files import load_material, material_file, parse_material
from microprint.mechanics.materials.material import Material

__all__ = ["Material", "load_material", "material_file", "parse_material"]
