"""Real images, as files, as tokens and as statistics; captions."""
