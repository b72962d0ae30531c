"""Benches of the training floor."""
