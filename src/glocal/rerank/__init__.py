"""From a shortlist to verified hits."""
