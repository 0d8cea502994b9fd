"""Learning: objectives, the way from maps and labels to losses (torch)."""
