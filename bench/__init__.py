"""Measurements. They print, and assert nothing about time: a busy machine is no bug."""
