"""Scripted hosts: programs that make socket calls, or segments, one step at a time, when it is their turn."""
