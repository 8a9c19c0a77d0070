"""Work: one folder per stage. A stage reads what the one above published; no stage imports another."""
