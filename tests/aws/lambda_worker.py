"""The handler of functions that run biglambda: its imports are made once, and what Lithops forks inherits them."""

from lithops.serverless.backends.aws_lambda.entry_point import lambda_handler  # noqa: F401

import biglambda.algorithms.kmeans
import biglambda.algorithms.logistic
import biglambda.runtime.engine.worker  # noqa: F401
