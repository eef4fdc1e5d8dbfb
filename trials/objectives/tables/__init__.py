"""Tables of real evaluations, and the simulated landscape; a package, so that a wheel has them."""
