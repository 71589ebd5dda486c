"""Pictures of solutions, comparisons and presets."""
