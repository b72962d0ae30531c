"""Preferences, principles and watermarks of language models."""
