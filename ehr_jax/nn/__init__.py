"""The numeric core: sparse products, set attention, normalisations. No clinical word in it."""
