"""Stages, recipes, the one loop, and the whole job."""
