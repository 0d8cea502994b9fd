"""Data sets on disk -> benchmarks, one family per file; photos are only listed here, never opened."""
