"""A throwaway server on the user's own machine: a container with sshd and its own Docker Engine."""
