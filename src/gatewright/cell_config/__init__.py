"""What a recurrent cell computes, as the choices by which frameworks differ: named, and told from a Trace."""
