"""What to compute: each algorithm is data for the loop in `biglambda.runtime.bsp`."""
