"""The engines' own processes: each worker runs in any Python that has its engine."""
