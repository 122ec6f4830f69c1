"""Backbones (images -> features), heads (features -> scores), and classifiers made of both."""
