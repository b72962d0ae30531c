"""Property tests have no deadline: a busy machine is not a failure."""

from hypothesis import settings

settings.register_profile("labels", deadline=None)
settings.load_profile("labels")
