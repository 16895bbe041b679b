"""Shopfloor runs AI software-development agents as durable production jobs."""

__version__ = "0.1.0"
