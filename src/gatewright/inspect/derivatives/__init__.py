"""The derivatives of one loss at one point, in three ways: derived, by difference quotients, by torch's autograd.

The modules `derived`, `differences` and `autograd` have the same functions of a trace and a point: `gradient`, `second`
and `forward`. Each returns arrays by name.
"""
