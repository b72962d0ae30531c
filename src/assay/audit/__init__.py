"""Audit: what is wrong with the labels, how sure, and does it matter."""
