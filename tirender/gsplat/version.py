"""The version of gsplat whose names and behaviour these are."""

__version__ = "1.5.3"
