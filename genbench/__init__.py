"""genbench: a benchmark harness for OpenAI-compatible inference servers.

A run is a straight line: config -> plan -> run -> records -> metrics -> exports and report.
Left of the records nothing knows what a metric is; right of them nothing knows what a socket is.
"""

__version__ = "0.1.0"
