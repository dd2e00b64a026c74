"""report.html: a run, or several, as one self-contained page; see `page`."""
