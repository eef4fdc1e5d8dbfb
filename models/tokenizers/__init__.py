"""Images to tokens and back, one tokenizer a file."""
