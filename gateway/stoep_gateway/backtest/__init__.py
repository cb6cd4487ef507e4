"""What a way of choosing containers costs: weeks of a made-up town, or of recorded levels. Pure.

::

    town (seed) ─┐
    levels (CSV) ┴→ waste that comes → sensor → production's filter and forecast
                        │                                 ↓ what is known
                        └──── emptied ◄── rounds ◄── policy
                                 ↓
                     km, hours, overflow days → euros
"""
