"""Photos -> features -> collection."""
