"""The derivatives of one loss at one point, in three ways: derived, by difference quotients, by torch's autograd.

Each of the three modules has the same functions of a trace and a point, which give arrays by name: `gradient`, `second`
and `forward`.
"""
