"""The AudioCLIP page."""
