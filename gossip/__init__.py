"""How peers tell one another where peers can be reached: signed records, passed on within a group."""
