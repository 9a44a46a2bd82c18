"""ActionCLIP in the classroom."""
