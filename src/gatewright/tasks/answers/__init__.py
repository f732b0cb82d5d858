"""What a trained model answers for new data, and how its answers are measured."""
