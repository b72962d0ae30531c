"""Training on imperfect labels."""
