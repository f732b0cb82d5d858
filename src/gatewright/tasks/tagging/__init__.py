"""A label for each step, of tokens or of recordings: recipe, network and answers."""
