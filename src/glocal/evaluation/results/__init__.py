"""Result files of any system, read into lists or features that are in the order of a benchmark."""
