"""Whether it paid: what the containers of a month cost, against what they would have. Pure inside.

::

    stored uplinks or CSV ─┐ levels ──► known time, overflow ──┐
    collections ───────────┼ emptyings ────────────────────────┼► cells (container, week) ► figures
    plans in force ────────┤                  ├► routed ► trips ┘       │
    the city's schedule ───┴ waste that came ─┘                         ├► bootstrap ► verdict
                                                        CSV, page ◄─────┘
"""
