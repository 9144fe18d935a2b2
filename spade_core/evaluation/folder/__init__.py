"""A folder looked at as one: each picture's maps by dense model and trace, how faithful the trace is, what it gains."""
