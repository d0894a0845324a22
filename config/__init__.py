"""The street: settings, urls, the web and worker entry points, the embedded servers.

Owns: what is read from the environment, how processes start, the error envelope.
Never: holds a rule of the product. Imports everything, is imported by no app.
"""
