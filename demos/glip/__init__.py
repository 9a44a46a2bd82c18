"""The GLIP page: a sentence finds its boxes; the alignment of words and regions, lessons, how it was taught."""
