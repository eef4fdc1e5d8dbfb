"""What a person starts: a search's settings, its studies, its end; rounds of searches."""
