"""How everything looks: formats, charts, template tags, stylesheets, fonts and the page shells.

Owns: what a number, a time, a badge, a chart and a form look like, in the dashboard, the portal and the sign-in pages.
Never: knows a merchant, a customer or a price; a page hands it plain values.
Holds: no float reaches a printed figure; every page works without JavaScript and under a CSP with no exceptions.
"""
