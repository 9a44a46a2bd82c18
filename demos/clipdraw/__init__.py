"""The CLIPDraw page: a prompt becomes a drawing of coloured strokes while one watches."""
