"""One file per foreign result format: `recognise(document)` names the format, `read(source, document)` its results."""
