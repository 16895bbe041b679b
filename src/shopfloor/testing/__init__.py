"""Shipped doubles and factories for tests of ours and of plug-ins. Each fake is named a fake."""
