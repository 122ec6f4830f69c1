"""Stages that change a trained head, and how they are chosen."""
