"""Everything Ray: the client, the actors, the tasks, and what travels between them."""
