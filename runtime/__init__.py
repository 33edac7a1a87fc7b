"""Where an algorithm runs and how partials meet. Knows no algorithm by name."""
