"""The DepthCLIP page: how far things are, in words."""
