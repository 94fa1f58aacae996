"""Parameters of the study: sections with defaults, their validation, the relations between them, their manual."""

from microprint.params.sections import (
    CompositeSettings,
    ComputeSettings,
    CrystalPlasticitySettings,
    ElasticitySettings,
    FingerprintSettings,
    LatentSettings,
    MicrographSettings,
    Params,
    PolycrystalSettings,
    PreprocessingSettings,
    RunSettings,
    SurrogateSettings,
    TextureVAESettings,
    VAERegressionSettings,
)
from microprint.params.validation import as_dict, load, sections_from, validate

__all__ = [
    "ComputeSettings",
    "CompositeSettings",
    "CrystalPlasticitySettings",
    "ElasticitySettings",
    "FingerprintSettings",
    "LatentSettings",
    "MicrographSettings",
    "Params",
    "PolycrystalSettings",
    "PreprocessingSettings",
    "RunSettings",
    "SurrogateSettings",
    "TextureVAESettings",
    "VAERegressionSettings",
    "as_dict",
    "load",
    "sections_from",
    "validate",
]
