"""Readers of files: each gives rows one by one, so that a file of any length takes little memory."""
