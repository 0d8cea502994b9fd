"""What people look at: match lines, matched areas, registered pairs and the report of one search."""
