"""Materials with DAMASK's phenomenological power law, read from DAMASK's own material files."""

from microprint.mechanics.materials.reader import Material, load_material, material_file, parse_material

__all__ = ["Material", "load_material", "material_file", "parse_material"]
