"""What holds for all tests: Hypothesis does not judge how long an example takes."""

from hypothesis import HealthCheck, settings

settings.register_profile("kgw", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kgw")
