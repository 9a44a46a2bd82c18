"""The CLIPasso page: an image becomes strokes while one watches; comparisons, a look inside and lessons."""
