"""The MuscleUp backend: a small real service to deploy."""
