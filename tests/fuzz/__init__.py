"""Bad input for a running gateway, and for the codecs in process; ``python -m tests.fuzz`` runs all of it.

- :mod:`tests.fuzz.target`: the gateway under attack, what its log and its memory say
- :mod:`tests.fuzz.healthy`: a producer and a consumer beside the attack, and how long they had to wait
- :mod:`tests.fuzz.attack`: connections of an attack, and what each request got
- :mod:`tests.fuzz.seeds`, :mod:`tests.fuzz.mutate`: valid requests of every API and version, made invalid
- :mod:`tests.fuzz.frames`, ``bodies``, ``batches``, ``message_sets``, ``bombs``, ``crowds``: the classes of
  bad input
- :mod:`tests.fuzz.stored`: whether all that is stored is well formed
- :mod:`tests.fuzz.in_process`: codecs and records without a socket
"""
