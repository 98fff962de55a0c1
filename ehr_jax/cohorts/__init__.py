"""Tasks: who is predicted, when, what, and in which split."""
