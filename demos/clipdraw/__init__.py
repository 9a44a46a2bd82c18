"""The CLIPDraw page: a prompt becomes a drawing of coloured strokes while one watches."""

from demos.clipdraw.page import PAGE

__all__ = ["PAGE"]
