"""The search for hyperparameters: Keras Tuner's oracle, asked and told."""
