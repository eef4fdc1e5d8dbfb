"""Who carries evaluations out: Ray Tune, this process, or a cluster that is only simulated."""
