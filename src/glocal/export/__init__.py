"""A collection in the formats of other programs: hloc, FAISS, Parquet."""
