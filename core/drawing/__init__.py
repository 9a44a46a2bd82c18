"""Drawing with CLIP: Bezier strokes, a differentiable rasterizer, and the loss that CLIP puts on a sketch.

`bezier` is the geometry and SVG; `rasterize` turns strokes into pixels, and gradients of pixels into
gradients of strokes; `saliency` says where a sketch should begin, `losses` how far it is from an image.
"""
