"""The models: one system = one file."""
