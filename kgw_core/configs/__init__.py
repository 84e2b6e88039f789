"""The configs of this broker: what its settings make of them, and what is set at run time."""
