"""How full a container will be, and how sure that is, learned from its own past. Pure.

::

    cleaned levels, emptyings → History → Outlook → level, p_over, hours_to
                                   ↕
                                 Kind, what containers have in common
"""
