"""Reports of a run: summary, lists of outcomes, HTML page."""

from asyncgg.report.summary import EXIT_CODES, format_summary, summary_to_dict

__all__ = ["EXIT_CODES", "format_summary", "summary_to_dict"]
