"""Models and their predictions: features, out-of-fold probabilities."""
