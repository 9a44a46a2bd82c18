"""The GLIP page: a sentence finds its boxes; the alignment of words and regions, lessons, how it was taught."""

from demos.glip.page import PAGE

__all__ = ["PAGE"]
