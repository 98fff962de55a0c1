"""Text to vectors: frozen Flax encoders, tokenising and chunking, pooling, and the vector cache."""
