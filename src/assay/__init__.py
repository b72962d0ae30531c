"""assay finds out what labels are really worth, and trains as if it knew."""

__version__ = "0.1.0"
