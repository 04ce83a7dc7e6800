"""Rule: what a journal says about a run, for people and programs: summary, lists of outcomes, one page of HTML."""

from asyncgg.report.summary import EXIT_BY_STATE, summary_lines, summary_object

__all__ = ["EXIT_BY_STATE", "summary_lines", "summary_object"]
