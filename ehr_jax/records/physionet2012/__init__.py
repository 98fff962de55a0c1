"""The PhysioNet/Computing in Cardiology Challenge 2012."""
