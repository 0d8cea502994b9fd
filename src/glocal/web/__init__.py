"""The HTTP service and the page: parse, call the same `Searcher` as the command line, serialise (extra `serve`)."""
