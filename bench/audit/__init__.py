"""Benches of the audit stage."""
