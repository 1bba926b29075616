"""Inputs and results of activities and child workflows."""
