"""One self-contained page about results: figures, errors, configuration, environment, BibTeX."""

from dmft.report.page import write_report

__all__ = ["write_report"]
