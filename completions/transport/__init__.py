"""HTTP/1.1 to providers, as lean as a connection allows: httptools parses, an `asyncio.Protocol` reads and writes.

    request.py     what is sent, as bytes that are checked once                                   pure
    parsing.py     the bytes of one response -> status, headers, body, end                        pure
    encodings.py   gzip and deflate, a bounded piece at a time                                    pure
    answer.py      one call under way: waits for its head and its body, with deadlines
    connection.py  a socket with at most one call on it
    pool.py        the idle connections, and calls over them
    dialing.py     new sockets: names, addresses, TLS

What goes wrong becomes a `ProviderError` where it happens. Knows nothing of dialects, rows or requests of callers; no redirects,
cookies or proxies of the environment.
"""
