"""Is everything there that a run needs? One file for each area; a check is a function that yields findings."""
