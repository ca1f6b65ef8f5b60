"""What a server has to be: one module for each part of it, facts in, checks out."""
