"""What AWS Lambda calls: Lithops' handler, in a process that has loaded every kernel.

This is imported once, while the function starts. Lithops then forks a process for each task, which inherits the
kernels. With BIGLAMBDA_COMPILE=never, a kernel that is not in the image's cache is an error here, and the caller
of the function sees its message.
"""

import biglambda.algorithms
import biglambda.runtime.engine.worker  # noqa: F401
from biglambda.kernels import warm

warm()

from .entry_point import lambda_handler  # noqa: E402, F401
