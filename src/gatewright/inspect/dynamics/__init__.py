"""A trained layer as a dynamical system: fixed points, eigenvalues, Lyapunov exponents, and what its state holds."""
