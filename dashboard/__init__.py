"""The merchant's window: what the team of an organization sees and does in a browser.

Owns: pages, their forms, and the reads that only a page needs.
Never: holds a rule or writes a row; it calls the activities of the rooms below.
Holds: a page belongs to one merchant, named by its URL (``/<org>/…`` live, ``/<org>/test/…`` test); whoever is not
       an active member gets 404; whoever lacks the permission is told so in place.
"""
