"""How peers reach one another: WebSockets, TLS, signed requests. Performs effects and decides nothing."""
