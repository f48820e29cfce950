"""Training: one loop for the teacher and for every student, and the methods it can run."""
