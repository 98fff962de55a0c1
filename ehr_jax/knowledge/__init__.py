"""Knowledge graphs: reading, finding a note's conditions in them, and telling of them in text."""
