"""The best trial refitted and fine-tuned."""
