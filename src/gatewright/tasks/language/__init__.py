"""Language models of characters and of words: recipes, generation and scoring."""
