"""The runtime image: its kernels, compiled when it is built, and what a function finds in it."""
