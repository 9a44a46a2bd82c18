"""The CLIP-ViL page: does CLIP's image encoder help to answer questions?"""
