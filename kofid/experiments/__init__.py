"""Long work that resumes: rounds of distillation, grids, ablations, tuning."""
