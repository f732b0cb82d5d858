"""Training: from a recipe's settings to a model file, a measured result and a picture of the curves."""
