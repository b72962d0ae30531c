"""Benches and claims: each script writes its numbers to `bench/results/<stage>/<name>.json`."""
