"""The StyleCLIP page: a sentence edits an image, by three methods on a generator and three by diffusion."""
