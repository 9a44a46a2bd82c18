"""ActionCLIP (Wang et al. 2021): actions are named by words."""
