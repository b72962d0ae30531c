"""What leaks, what flows, what breaks."""
