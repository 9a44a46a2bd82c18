"""The ActionCLIP page."""
