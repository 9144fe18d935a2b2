"""Networks that are made once of a folder and explain all pictures: what a trace for each picture is compared with.

An arm whose ``folder`` is set names its function ``module:function`` of this package. It takes a :class:`references.
References` and returns a :class:`replacement.Replacement`.
"""
