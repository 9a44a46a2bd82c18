"""The GLIPv2 page: facts alone, because its weights were never released; what it adds to GLIP, and what runs instead."""
