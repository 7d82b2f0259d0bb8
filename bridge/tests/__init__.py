"""Tests of the bridge's pure parts; they need no Odoo:

cd bridge && python3 -m unittest discover -s tests -t .
"""
