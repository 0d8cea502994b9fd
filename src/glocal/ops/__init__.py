"""Pure functions: no state, files, configuration or logging."""
