"""The CLIPasso page: a picture becomes strokes while one watches; a look inside, comparisons and lessons behind tabs."""

from demos.clipasso.page import PAGE

__all__ = ["PAGE"]
