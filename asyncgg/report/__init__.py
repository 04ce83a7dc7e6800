"""Rule: what a journal says about a run, for people and programs: summary, lists of outcomes, one page of HTML."""

from asyncgg.report.summary import EXIT_CODES, format_summary, summary_to_dict

__all__ = ["EXIT_CODES", "format_summary", "summary_to_dict"]
