"""A trained run in use: its model, and predictions on new images."""
