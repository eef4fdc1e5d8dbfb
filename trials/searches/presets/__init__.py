"""Study files of the published benchmarks, found by name; a package, so that a wheel has them."""
