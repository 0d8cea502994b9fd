"""Photos: reading them, and making them."""
