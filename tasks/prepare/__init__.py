"""Each image resized once, each backbone run once."""
