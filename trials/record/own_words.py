"""A note that autonat writes and people go on writing in: theirs stays when ours is renewed."""

from __future__ import annotations

END = "*autonat wrote this down to here, and writes it anew; what you write below stays.*"


def with_own_words(ours: str, before: str) -> str:
    """A note with a new text of ours and what people wrote.

    Args:
        ours: the new text.
        before: the whole note as it is now, or "".

    Returns:
        Our text, the line END, and what stands below that line now. A note without the line is
        theirs from its first word.
    """
    _, found, below = before.partition(END)
    theirs = (below if found else before).strip("\n")
    return "\n\n".join(part for part in (ours, END, theirs) if part)
