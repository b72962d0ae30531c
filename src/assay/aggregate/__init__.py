"""Many opinions into one belief: who is right how often, and what is true, learned together."""
