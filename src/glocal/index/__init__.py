"""From a query descriptor to a shortlist."""
