"""Every figure and picture, derived from predictions."""
