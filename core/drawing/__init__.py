"""Drawing with CLIP: Bezier strokes and a differentiable rasterizer.

`bezier` is the geometry and SVG; `rasterize` turns strokes into pixels, and gradients of pixels into
gradients of strokes.
"""
