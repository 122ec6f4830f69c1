"""Whole jobs: one run, and many runs on one split."""
