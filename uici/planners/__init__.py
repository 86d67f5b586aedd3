"""Planners: what to try about an incident, one Request after another. They hold no credentials and act on nothing."""

from uici.planners.proposal import Conclusion, Planning, Proposal, Verdict
from uici.planners.runbook import after, choose, plan

__all__ = ["Conclusion", "Planning", "Proposal", "Verdict", "after", "choose", "plan"]
