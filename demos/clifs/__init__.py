"""The page of CLIFS."""
