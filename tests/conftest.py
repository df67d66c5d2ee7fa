"""What all tests share: hypothesis without deadlines, since a shared machine is slow at times."""

from hypothesis import HealthCheck, settings

settings.register_profile("fuseline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fuseline")
