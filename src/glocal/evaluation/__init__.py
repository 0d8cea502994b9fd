"""Measuring a system: what is asked, what is right, how it is scored, and what came out."""
