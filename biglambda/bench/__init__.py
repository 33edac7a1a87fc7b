"""Measures the kernels on this machine: against its roofs, and against other libraries.

Nothing here is needed by a fit. ``biglambda bench kernels`` is `biglambda.bench.command`; a kernel is measured by
a `Case`, of which `biglambda.bench.kmeans` and `biglambda.bench.dense` hold one each.
"""
