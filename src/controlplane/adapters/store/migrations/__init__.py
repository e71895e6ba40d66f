"""Alembic migrations, run by `gpuplane up` and `gpuplane db migrate`."""
