"""StyleCLIP and what diffusion made of it, in the classroom."""
