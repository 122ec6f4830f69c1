"""From the bytes of one file to the pixels a model sees."""
