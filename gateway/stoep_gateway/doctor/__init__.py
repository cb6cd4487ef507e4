"""What is wrong with the gateways and their surroundings, and what to do about it.

``facts`` are gathered from the running gateway, ``rules`` and ``gateway_rules`` make findings of
them, and ``command`` is ``stoep gateway doctor`` with its handler on the control socket.
"""
