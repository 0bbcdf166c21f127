"""Tandem: system health and model health, side by side.

The core: records, algebra, store, collection and reports. It needs no browser, no HTTP library and no chart library.
"""

__version__ = "0.1.0"
