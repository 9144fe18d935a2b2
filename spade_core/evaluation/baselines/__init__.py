"""Networks that are made once of a folder and explain all pictures: what a trace for each picture is compared with.

An arm whose ``folder`` is set names its function, ``module:function`` of this package, which takes ``References`` and
returns a ``Replacement``. To add a baseline, write such a function and a line in ``spade_core/evaluation/arms.py``.
"""
