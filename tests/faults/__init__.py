"""The faults that one must survive, a test for each row, named after it.

Real client over HTTP, real service, real database; the twin stands in for the venue and lies.
"""
