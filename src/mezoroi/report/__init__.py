"""What people read: the radar, overlays, charts and the HTML report of a batch.

Import from the module that draws it, so that a page with a radar does not load matplotlib:
``report.radar``, ``report.overlay``, ``report.html``, ``report.plots``, ``report.colours``.
"""
