"""Progress of long work: live on a terminal or in a notebook, a line now and then in a log."""

from trials.progress.live import LiveProgress, say, stderr

__all__ = ["LiveProgress", "say", "stderr"]
