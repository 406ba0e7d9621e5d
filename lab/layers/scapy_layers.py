"""scapy with every layer it knows, loaded without what only sending needs.

Import this before anything else of scapy: it would read all routes and interfaces of the machine at once, most of a
second where there are many.
"""

from __future__ import annotations

from scapy.config import conf

conf.route_autoload = False
conf.route6_autoload = False

import scapy.all  # noqa: E402, F401 - loads every layer before the first packet is dissected
