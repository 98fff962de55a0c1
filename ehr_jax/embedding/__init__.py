"""Tables of texts in, tables of vectors out, for --mode=embed."""
