"""Stages, recipes and the one loop."""
