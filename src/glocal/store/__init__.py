"""The collection on disk, and the folder that it mirrors."""
