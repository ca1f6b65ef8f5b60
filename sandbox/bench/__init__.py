"""Benchmarks: how long a deploy takes on a throwaway server, near and far, against what was promised."""
