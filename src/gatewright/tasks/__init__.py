"""What a network is trained on and for: data, recipes, training, generation and comparison."""
