"""kafka-python and aiokafka are the judges here; importing the first warns of its own deprecated calls."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kafka  # noqa: F401
