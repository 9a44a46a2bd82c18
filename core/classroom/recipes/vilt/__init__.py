"""ViLT in the classroom."""
