"""Models of music: recipe, generation and scoring."""
