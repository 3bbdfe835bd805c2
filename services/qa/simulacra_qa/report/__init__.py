"""The report that a person reads: one HTML file, rendered from an evaluation."""

from simulacra_qa.report.page import Heading, render

__all__ = ["Heading", "render"]
