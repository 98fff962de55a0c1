"""The engine: stages of the data, fitting and scoring a method, folds, checks beforehand."""
