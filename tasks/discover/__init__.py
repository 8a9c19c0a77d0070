"""Where images may be found: one source a file, all into the candidates table."""
