"""What distinguishes generated images from real ones, in a number with its error."""
