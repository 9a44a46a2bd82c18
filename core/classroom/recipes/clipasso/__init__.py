"""CLIPasso: evaluation of sketches."""
