"""The results of the recipes: which runs they are of, how these are trained, and the page that shows them."""
