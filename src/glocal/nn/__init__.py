"""Layers with parameters: one family per file, built around the pure functions of `glocal.ops` (torch)."""
