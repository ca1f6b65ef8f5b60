"""server.bootstrap and server.doctor."""
