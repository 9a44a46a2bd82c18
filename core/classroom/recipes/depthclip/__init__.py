"""DepthCLIP in the classroom: bins from a few scenes, what is measured."""
