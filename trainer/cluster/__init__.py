"""Trainings on many machines, under Ray. Nothing else of the trainer imports this, or Ray."""
