"""Training: one loop for teachers and students, and the methods it can run."""
