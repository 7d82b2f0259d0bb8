# -*- coding: utf-8 -*-
# A manifest of our own with what the real ones contain.
{
    'name': "Sample – Überprüfung",
    'version': '19.0.1.0.0',
    'summary': """Three
lines with a "quote"
and an escape: \u00e9 \
joined""",
    'author': ['One', 'Two'],
    'sequence': '10',
    'depends': (
        'stock', 'sale'  # implicit
        '_stock',
    ),
    'auto_install': ['stock'],
    'external_dependencies': {'python': ['phonenumbers>=8.12', r'a\w'], 'bin': ['wkhtmltopdf']},
    'data': ['views/' 'a.xml'],
    'assets': {'web.assets_backend': [('include', 'web._assets'), 'sample/static/src/**/*']},
    'countries': {'be', 'fr'},
    'price': 12.50, 'offset': -1, 'installable': True, 'application': False, 'icon': None,
}
