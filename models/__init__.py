"""What is trained and sampled: NAT, parallel decoding, tokens, features and Fréchet distance."""
