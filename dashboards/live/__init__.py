"""The live page: one page on this machine that shows the searches of a lab while they run."""
