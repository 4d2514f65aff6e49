"""The page's planner: tables made here from the laws' draws; in the page a script looks answers up in them."""

from tdscale.report.planner.tables import planner_tables

__all__ = ["planner_tables"]
