"""Tools for the people who work on kgw; nothing here is shipped."""
